// SPDX-License-Identifier: Apache-2.0

package main

import (
	"strings"
	"syscall"

	"github.com/containerd/containerd"
)

// How a caller says which container belongs to which pod.
type podKeys struct{ kind, sandbox string }

var (
	criKeys  = podKeys{"io.kubernetes.cri.container-type", "io.kubernetes.cri.sandbox-id"}
	crioKeys = podKeys{"io.kubernetes.cri-o.ContainerType", "io.kubernetes.cri-o.SandboxID"}
)

func (k podKeys) of(kind, sandbox string) map[string]string {
	return map[string]string{k.kind: kind, k.sandbox: sandbox}
}

func (e *env) startSandbox(keys podKeys) *box {
	id := e.newID("p")
	return e.mustStart(plan{id: id, args: []string{"sleep", "1000"}, annotations: keys.of("sandbox", id)})
}

func (e *env) checkOneMachine(pod string) {
	shims, machines := processes("containerd-shim-", e.address, "-id"), processes("qemu-system-", e.token)
	check(len(shims) == 1, "%d shims of pod %s: %v", len(shims), pod, shims)
	check(len(machines) == 1, "%d machines of pod %s: %v", len(machines), pod, machines)
}

func podOfCri(e *env)  { wholePod(e, criKeys) }
func podOfCrio(e *env) { wholePod(e, crioKeys) }

// A sandbox and two workloads in one machine: output, input, exec, exit code and kill are each container's own.
func wholePod(e *env, keys podKeys) {
	sandbox := e.startSandbox(keys)
	member := keys.of("container", sandbox.ID())
	one := e.mustStart(plan{args: sh("echo one; cat; exit 3"), annotations: member, stdin: strings.NewReader("to one\n")})
	two := e.mustStart(plan{args: sh("echo two; echo errors >&2; trap 'exit 5' TERM; while :; do sleep 0.1; done"),
		annotations: member})
	e.checkOneMachine(sandbox.ID())

	checkNil(one.CloseIO(e.ctx, containerd.WithStdinCloser), "closing the input")
	one.mustExit(3)
	one.IO().Wait()
	check(one.out.String() == "one\nto one\n", "container one wrote %q", one.out.String())
	two.out.waitFor("two\n")
	two.err.waitFor("errors\n")
	boot := "cat /proc/sys/kernel/random/boot_id"
	machine := two.ask(boot)
	check(two.ask("hostname; ls / | head -n 1 >/dev/null; exit 0") != "", "an exec in the second container is silent")
	_, err := sandbox.addExec(e.newID("x"), nil, "true")
	check(err != nil && strings.Contains(err.Error(), "no programs"), "an exec in the sandbox container: %v", err)
	failed := two.mustExec(nil, sh("exit 8")...)
	failed.mustExit(8)

	one.mustDelete()
	two.mustKill(syscall.SIGTERM)
	two.mustExit(5)
	check(sandbox.status() == containerd.Running, "the sandbox container is %s", sandbox.status())
	third := e.mustStart(plan{args: sh(boot), annotations: member})
	third.mustExit(0)
	third.IO().Wait()
	check(strings.TrimSpace(third.out.String()) == machine, "the containers are on different machines")
	third.mustDelete()
	two.mustDelete()
	e.checkOneMachine(sandbox.ID())
	sandbox.mustKill(syscall.SIGKILL)
	sandbox.mustExit(137)
	sandbox.mustDelete()
}

// A sandbox container that is killed and deleted takes neither machine nor containers with it: they are deleted later.
func podSandboxFirst(e *env) {
	sandbox := e.startSandbox(criKeys)
	workload := e.mustStart(plan{args: sh("trap 'exit 6' TERM; while :; do sleep 0.1; done"),
		annotations: criKeys.of("container", sandbox.ID())})
	sandbox.mustKill(syscall.SIGKILL)
	sandbox.mustExit(137)
	sandbox.mustDelete()

	check(workload.ask("echo still here") == "still here", "the workload went with the sandbox container")
	e.checkOneMachine(sandbox.container.ID())
	workload.mustKill(syscall.SIGTERM)
	workload.mustExit(6)
	workload.mustDelete()
}

func podWithoutSandbox(e *env) {
	_, err := e.start(plan{args: []string{"true"}, annotations: criKeys.of("container", e.token+"-no-such-pod")})
	check(err != nil && strings.Contains(err.Error(), "no-such-pod") && strings.Contains(err.Error(), "no running shim"),
		"a container of a pod that is not there: %v", err)
}
