// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/containerd/containerd"
	tasks "github.com/containerd/containerd/api/services/tasks/v1"
	"github.com/containerd/containerd/errdefs"
)

const (
	execsMax     = 4
	outputLines  = 40000 // `seq` of it is about 230 kB
	inputSizeMax = 300000
	statePeriod  = 10 * time.Millisecond
)

type counters struct{ containers, pods, execs, states int64 }

// Workers that each make containers one after another, some of them in a pod of their own, run processes in them at
// once, end them in different ways and check every exit code and all output, while others ask for the states.
func stress(e *env) {
	fmt.Printf("stress: %d workers, seed %d\n", e.workers, e.seed)
	var count counters
	begin := time.Now()
	end := begin.Add(e.duration)
	failed := make(chan error, e.workers)
	var group sync.WaitGroup
	for i := 0; i < e.workers; i++ {
		group.Add(1)
		go func(random *rand.Rand) {
			defer group.Done()
			for n := 0; (e.cycles == 0 || n < e.cycles) && time.Now().Before(end) && len(failed) == 0; n++ {
				if err := stressContainer(e, random, &count); err != nil {
					failed <- err
					return
				}
			}
		}(rand.New(rand.NewSource(e.seed + int64(i))))
	}
	group.Wait()
	fmt.Printf("stress: %d containers, %d of them in pods, %d processes in them, %d states in %v\n", count.containers,
		count.pods, count.execs, count.states, time.Since(begin).Round(time.Second))
	close(failed)
	for err := range failed {
		fmt.Printf("stress: %v\n", err)
		check(false, "seed %d: %v", e.seed, err)
	}
	e.checkNone()
}

// One container, or one with a second that joins its machine.
func stressContainer(e *env, random *rand.Rand, count *counters) error {
	id := e.newID("s")
	first := plan{id: id}
	if random.Intn(4) != 0 {
		return stressOne(e, random, count, first)
	}
	first.annotations = criKeys.of("sandbox", id)
	first.args = []string{"sleep", "100000"}
	sandbox, err := e.start(first)
	if err != nil {
		return err
	}
	atomic.AddInt64(&count.pods, 1)
	member := plan{annotations: criKeys.of("container", id)}
	errs := make(chan error, 2)
	for i := 0; i < cap(errs); i++ {
		own := rand.New(rand.NewSource(random.Int63()))
		go func() { errs <- stressOne(e, own, count, member) }()
	}
	for i := 0; i < cap(errs); i++ {
		if failed := <-errs; failed != nil {
			err = failed
		}
	}
	if err != nil {
		return err
	}
	if err := sandbox.task.Kill(e.ctx, syscall.SIGKILL); err != nil {
		return fmt.Errorf("killing %s: %w", id, err)
	}
	return sandbox.finish(137, "")
}

// The lines 1 to n, as `seq` writes them.
func sequence(n int) string {
	var text strings.Builder
	for i := 1; i <= n; i++ {
		fmt.Fprintln(&text, i)
	}
	return text.String()
}

// Waits for the end, compares code and output, deletes.
func (b *box) finish(code uint32, output string) error {
	if err := b.compare(code, output); err != nil {
		return err
	}
	return b.delete()
}

func (p *proc) compare(code uint32, output string) error {
	got, err := p.code()
	if err != nil {
		return err
	}
	p.IO().Wait()
	if got != code {
		return fmt.Errorf("%s ended with %d, not %d; errors %q", p.ID(), got, code, p.err.String())
	}
	if text := p.out.String(); sha256.Sum256([]byte(text)) != sha256.Sum256([]byte(output)) {
		return fmt.Errorf("%s wrote %d bytes, not the %d expected", p.ID(), len(text), len(output))
	}
	return nil
}

// The init ends by a line of input, by a signal that it handles, or by one that it cannot.
func stressOne(e *env, random *rand.Rand, count *counters, p plan) error {
	lines, code := random.Intn(outputLines), uint32(random.Intn(120))
	in, feed := io.Pipe()
	defer feed.Close()
	p.stdin = in
	// `read` in a child: the shell sees a signal at once while it waits for one, but not always while it reads.
	script := "trap 'exit 121' TERM; exec 3<&0; seq 1 %d; echo ready >&2; (read code <&3; exit $code) & wait $!; exit $?"
	p.args = sh(fmt.Sprintf(script, lines))
	b, err := e.start(p)
	if err != nil {
		return err
	}
	atomic.AddInt64(&count.containers, 1)
	stop := make(chan struct{})
	polled := make(chan error, 1)
	go func() { polled <- pollStates(e.ctx, b.Process, stop, count) }()
	err = stressExecs(b, random, count)
	close(stop)
	if failed := <-polled; err == nil {
		err = failed
	}
	if err != nil {
		return err
	}
	if err := waitForText(&b.err, "ready\n"); err != nil {
		return err
	}
	switch random.Intn(3) {
	case 0:
		err, code = b.task.Kill(e.ctx, syscall.SIGKILL), 137
	case 1:
		err, code = b.task.Kill(e.ctx, syscall.SIGTERM), 121
	default:
		_, err = fmt.Fprintln(feed, code)
	}
	if err != nil {
		return fmt.Errorf("ending %s: %w", b.ID(), err)
	}
	return b.finish(code, sequence(lines))
}

func waitForText(o *output, text string) error {
	for end := time.Now().Add(patience); !strings.Contains(o.String(), text); time.Sleep(pollStep) {
		if time.Now().After(end) {
			return fmt.Errorf("waited %v for output %q", patience, text)
		}
	}
	return nil
}

// Asks until told to stop. States never go back.
func pollStates(ctx context.Context, p containerd.Process, stop <-chan struct{}, count *counters) error {
	order := map[containerd.ProcessStatus]int{containerd.Created: 1, containerd.Running: 2, containerd.Stopped: 3}
	seen := 0
	for {
		select {
		case <-stop:
			return nil
		case <-time.After(statePeriod):
		}
		status, err := p.Status(ctx)
		if errdefs.IsNotFound(err) && seen > 0 {
			continue
		}
		if err != nil {
			return fmt.Errorf("state of %s: %w", p.ID(), err)
		}
		atomic.AddInt64(&count.states, 1)
		if now := order[status.Status]; now < seen || now == 0 {
			return fmt.Errorf("%s went to state %s", p.ID(), status.Status)
		} else {
			seen = now
		}
	}
}

func stressExecs(b *box, random *rand.Rand, count *counters) error {
	n := 1 + random.Intn(execsMax)
	errs := make(chan error, n)
	for i := 0; i < n; i++ {
		own := rand.New(rand.NewSource(random.Int63()))
		id := fmt.Sprintf("x%d", i)
		go func() { errs <- stressExec(b, own, id, count) }()
	}
	var err error
	for i := 0; i < n; i++ {
		if failed := <-errs; failed != nil {
			err = failed
		}
	}
	return err
}

// One of: output and a code; input that comes back as it was; a process that is killed.
func stressExec(b *box, random *rand.Rand, id string, count *counters) error {
	var stdin io.Reader
	var args []string
	var output string
	code, isKilled := uint32(0), false
	switch random.Intn(3) {
	case 0:
		lines := random.Intn(outputLines)
		code = uint32(random.Intn(256))
		args, output = sh(fmt.Sprintf("seq 1 %d; exit %d", lines, code)), sequence(lines)
	case 1:
		data := make([]byte, random.Intn(inputSizeMax))
		random.Read(data)
		stdin, args, output = bytes.NewReader(data), []string{"cat"}, string(data)
	default:
		args, code, isKilled = []string{"sleep", "100000"}, 137, true
	}
	x, err := b.addExec(id, stdin, args...)
	if err != nil {
		return err
	}
	if err := x.Start(b.e.ctx); err != nil {
		return fmt.Errorf("starting %s in %s: %w", id, b.ID(), err)
	}
	atomic.AddInt64(&count.execs, 1)
	if stdin != nil {
		// As `ctr` does it: the copier has closed the pipe, this lets the process see it.
		if err := x.CloseIO(b.e.ctx, containerd.WithStdinCloser); err != nil {
			return fmt.Errorf("closing the input of %s in %s: %w", id, b.ID(), err)
		}
	}
	if isKilled {
		if err := x.Kill(b.e.ctx, syscall.SIGKILL); err != nil {
			return fmt.Errorf("killing %s in %s: %w", id, b.ID(), err)
		}
	}
	if err := x.compare(code, output); err != nil {
		return fmt.Errorf("in %s: %w", b.ID(), err)
	}
	if _, err := x.Delete(b.e.ctx); err != nil {
		return fmt.Errorf("deleting %s in %s: %w", id, b.ID(), err)
	}
	return nil
}

// No container and no task with our token.
func (e *env) checkNone() {
	containers, err := e.client.Containers(e.ctx)
	checkNil(err, "listing containers")
	for _, container := range containers {
		check(!strings.HasPrefix(container.ID(), e.token), "container %s is left", container.ID())
	}
	list, err := e.client.TaskService().List(e.ctx, &tasks.ListTasksRequest{})
	checkNil(err, "listing tasks")
	for _, task := range list.Tasks {
		check(!strings.HasPrefix(task.ID, e.token), "task %s is left", task.ID)
	}
}
