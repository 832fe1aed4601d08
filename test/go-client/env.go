// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/containerd/containerd"
	"github.com/containerd/containerd/cio"
	"github.com/containerd/containerd/errdefs"
	"github.com/containerd/containerd/namespaces"
	"github.com/containerd/containerd/oci"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

const (
	image = "localhost/busybox:latest"
	// Of one call or one wait, on a machine without virtualization that is loaded by other tests.
	patience = 180 * time.Second
	pollStep = 20 * time.Millisecond
)

type options struct {
	address, token, fifos, prefix, runtime string
	duration                               time.Duration
	cycles, workers                        int
	seed                                   int64
}

// What a case has to work with. The containers are remembered, to be removed in any case.
type env struct {
	options
	client *containerd.Client
	ctx    context.Context
	image  containerd.Image

	mutex sync.Mutex
	count int
	boxes []*box
}

func connect(o options) (*env, error) {
	client, err := containerd.New(o.address)
	if err != nil {
		return nil, err
	}
	ctx := namespaces.WithNamespace(context.Background(), "default")
	img, err := client.GetImage(ctx, image)
	if err != nil {
		return nil, err
	}
	return &env{options: o, client: client, ctx: ctx, image: img}, nil
}

// The token is in the first 20 characters: that is what libvirt keeps for cgroups.
func (e *env) newID(word string) string {
	e.mutex.Lock()
	defer e.mutex.Unlock()
	e.count++
	return fmt.Sprintf("%s-g%d%s", e.token, e.count, word)
}

// A buffer that a copier fills while the case looks into it.
type output struct {
	mutex sync.Mutex
	data  []byte
}

func (o *output) Write(data []byte) (int, error) {
	o.mutex.Lock()
	defer o.mutex.Unlock()
	o.data = append(o.data, data...)
	return len(data), nil
}

func (o *output) String() string {
	o.mutex.Lock()
	defer o.mutex.Unlock()
	return string(o.data)
}

func (o *output) waitFor(text string) {
	waitFor(func() bool { return strings.Contains(o.String(), text) }, fmt.Sprintf("output %q", text))
}

func waitFor(condition func() bool, what string) {
	for end := time.Now().Add(patience); !condition(); time.Sleep(pollStep) {
		check(time.Now().Before(end), "waited %v for %s", patience, what)
	}
}

// Any process of containerd's client: the init of a task, or an exec.
type proc struct {
	containerd.Process
	out, err output
	exit     <-chan containerd.ExitStatus
}

func (p *proc) code() (uint32, error) {
	select {
	case status := <-p.exit:
		return status.ExitCode(), status.Error()
	case <-time.After(patience):
		return 0, fmt.Errorf("process %q did not end", p.ID())
	}
}

func (p *proc) mustExit(want uint32) {
	code, err := p.code()
	checkNil(err, "waiting for "+p.ID())
	check(code == want, "%s ended with %d, not %d; output %q, errors %q", p.ID(), code, want, p.out.String(),
		p.err.String())
}

func (p *proc) streams(e *env, stdin io.Reader, terminal bool) cio.Creator {
	opts := []cio.Opt{cio.WithStreams(stdin, &p.out, &p.err), cio.WithFIFODir(e.fifos)}
	if terminal {
		opts = append(opts, cio.WithTerminal)
	}
	return cio.NewCreator(opts...)
}

// What a container is made of; all but args may be left out.
type plan struct {
	id          string
	args        []string
	annotations map[string]string
	options     interface{} // of the runtime
	stdin       io.Reader
	terminal    bool
}

// A container and its task.
type box struct {
	proc
	e         *env
	container containerd.Container
	task      containerd.Task
}

func sh(script string) []string { return []string{"sh", "-c", script} }

// Makes the container and its task, and begins to wait for its end; does not start it.
func (e *env) create(p plan) (*box, error) {
	if p.id == "" {
		p.id = e.newID("c")
	}
	cgroup := specs.Mount{Destination: "/sys/fs/cgroup", Type: "cgroup", Source: "cgroup", Options: []string{"ro"}}
	opts := []oci.SpecOpts{oci.WithImageConfig(e.image), oci.WithProcessArgs(p.args...),
		oci.WithMounts([]specs.Mount{cgroup})}
	if p.terminal {
		opts = append(opts, oci.WithTTY)
	}
	if p.annotations != nil {
		opts = append(opts, oci.WithAnnotations(p.annotations))
	}
	container, err := e.client.NewContainer(e.ctx, p.id, containerd.WithImage(e.image),
		containerd.WithRuntime(e.runtime, p.options), containerd.WithNewSnapshot(p.id, e.image),
		containerd.WithNewSpec(opts...))
	if err != nil {
		return nil, fmt.Errorf("making container %s: %w", p.id, err)
	}
	b := &box{e: e, container: container}
	e.mutex.Lock()
	e.boxes = append(e.boxes, b)
	e.mutex.Unlock()
	b.task, err = container.NewTask(e.ctx, b.streams(e, p.stdin, p.terminal))
	if err != nil {
		return nil, fmt.Errorf("making the task of %s: %w", p.id, err)
	}
	b.Process = b.task
	b.exit, err = b.task.Wait(e.ctx)
	return b, err
}

func (e *env) start(p plan) (*box, error) {
	b, err := e.create(p)
	if err == nil {
		err = b.task.Start(e.ctx)
	}
	return b, err
}

func (e *env) mustStart(p plan) *box {
	b, err := e.start(p)
	checkNil(err, "starting a container")
	return b
}

func (e *env) mustCreate(p plan) *box {
	b, err := e.create(p)
	checkNil(err, "making a container")
	return b
}

// Adds a process; does not start it.
func (b *box) addExec(id string, stdin io.Reader, args ...string) (*proc, error) {
	spec, err := b.container.Spec(b.e.ctx)
	if err != nil {
		return nil, err
	}
	process := &specs.Process{Args: args, Cwd: "/", Env: spec.Process.Env, Capabilities: spec.Process.Capabilities}
	x := &proc{}
	x.Process, err = b.task.Exec(b.e.ctx, id, process, x.streams(b.e, stdin, false))
	if err != nil {
		return nil, fmt.Errorf("adding exec %s: %w", id, err)
	}
	x.exit, err = x.Wait(b.e.ctx)
	return x, err
}

func (b *box) mustExec(stdin io.Reader, args ...string) *proc {
	x, err := b.addExec(b.e.newID("x"), stdin, args...)
	checkNil(err, "adding a process")
	checkNil(x.Start(b.e.ctx), "starting "+x.ID())
	return x
}

// Runs a script to its end and returns what it wrote.
func (b *box) ask(script string) string {
	x := b.mustExec(nil, sh(script)...)
	x.mustExit(0)
	x.IO().Wait()
	_, err := x.Delete(b.e.ctx)
	checkNil(err, "deleting "+x.ID())
	return strings.TrimSpace(x.out.String())
}

func (b *box) status() containerd.ProcessStatus {
	status, err := b.task.Status(b.e.ctx)
	checkNil(err, "asking for the state of "+b.ID())
	return status.Status
}

// Deletes the stopped task and its container.
func (b *box) delete() error {
	if _, err := b.task.Delete(b.e.ctx); err != nil {
		return fmt.Errorf("deleting the task of %s: %w", b.container.ID(), err)
	}
	return b.container.Delete(b.e.ctx, containerd.WithSnapshotCleanup)
}

func (b *box) mustDelete() { checkNil(b.delete(), "deleting") }

func (b *box) mustKill(signal syscall.Signal, opts ...containerd.KillOpts) {
	checkNil(b.task.Kill(b.e.ctx, signal, opts...), "killing "+b.ID())
}

// Takes away what a case has not removed itself, newest first. The leak check comes after it.
func (e *env) removeAll() {
	for i := len(e.boxes) - 1; i >= 0; i-- {
		b := e.boxes[i]
		if b.task != nil {
			b.task.Delete(e.ctx, containerd.WithProcessKill)
		}
		err := b.container.Delete(e.ctx, containerd.WithSnapshotCleanup)
		if err != nil && !errdefs.IsNotFound(err) {
			fmt.Fprintf(os.Stderr, "removing container %s: %v\n", b.container.ID(), err)
		}
	}
}

// Pids of the processes with each of the words in their command line.
func processes(words ...string) (pids []string) {
	lines, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, path := range lines {
		line, _ := os.ReadFile(path)
		found := len(line) > 0
		for _, word := range words {
			found = found && strings.Contains(string(line), word)
		}
		if pid := filepath.Base(filepath.Dir(path)); found && pid != fmt.Sprint(os.Getpid()) {
			pids = append(pids, pid)
		}
	}
	return pids
}
