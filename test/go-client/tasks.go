// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"syscall"
	"time"

	statsv1 "github.com/containerd/cgroups/stats/v1"
	statsv2 "github.com/containerd/cgroups/v2/stats"
	"github.com/containerd/containerd"
	tasks "github.com/containerd/containerd/api/services/tasks/v1"
	"github.com/containerd/containerd/errdefs"
	runcoptions "github.com/containerd/containerd/runtime/v2/runc/options"
	"github.com/containerd/typeurl"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

const waitersCount = 8

func (e *env) startSleeper() *box { return e.mustStart(plan{args: []string{"sleep", "1000"}}) }

func (b *box) endAndDelete() {
	b.mustKill(syscall.SIGKILL)
	b.mustExit(137)
	b.mustDelete()
}

func (b *box) update(resources *specs.LinuxResources) error {
	return b.task.Update(b.e.ctx, containerd.WithResources(resources))
}

func updateLimits(e *env) {
	memory, quota, period := int64(96<<20), int64(40000), uint64(100000)
	b := e.startSleeper()
	checkNil(b.update(&specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: &memory}}), "limiting memory")
	checkNil(b.update(&specs.LinuxResources{CPU: &specs.LinuxCPU{Quota: &quota, Period: &period}}), "limiting cpu")
	checkNil(b.update(&specs.LinuxResources{Pids: &specs.LinuxPids{Limit: 77}}), "limiting pids")
	got := strings.Fields(b.ask("cd /sys/fs/cgroup && cat memory.max cpu.max pids.max"))
	check(fmt.Sprint(got) == "[100663296 40000 100000 77]", "the limits are %v", got)
	b.endAndDelete()
}

func updateImpossible(e *env) {
	quota, period := int64(1000), uint64(1) // the kernel's least period is 1000
	runtime, handles := int64(950000), uint32(3)
	b := e.startSleeper()
	before := b.ask("cat /sys/fs/cgroup/cpu.max")
	for _, bad := range []*specs.LinuxResources{
		{CPU: &specs.LinuxCPU{Quota: &quota, Period: &period}},
		{CPU: &specs.LinuxCPU{RealtimeRuntime: &runtime}},
		{Rdma: map[string]specs.LinuxRdma{"mlx5_1": {HcaHandles: &handles}}},
	} {
		err := b.update(bad)
		check(err != nil && !strings.Contains(err.Error(), "\n"), "an impossible limit: %v", err)
	}
	check(b.ask("cat /sys/fs/cgroup/cpu.max") == before, "a refused limit changed another")
	b.endAndDelete()
	check(b.update(&specs.LinuxResources{}) != nil, "a deleted task was updated")
}

func metricsOfTask(e *env) {
	b := e.startSleeper()
	metric, err := b.task.Metrics(e.ctx)
	checkNil(err, "asking for metrics")
	check(metric.ID == b.ID() && !metric.Timestamp.IsZero(), "metrics of %q at %v", metric.ID, metric.Timestamp)
	data, err := typeurl.UnmarshalAny(metric.Data)
	checkNil(err, "reading the metrics")
	var pids, memory, cpu uint64
	switch m := data.(type) {
	case *statsv1.Metrics:
		pids, memory, cpu = m.Pids.Current, m.Memory.Usage.Usage, m.CPU.Usage.Total
	case *statsv2.Metrics:
		pids, memory, cpu = m.Pids.Current, m.Memory.Usage, m.CPU.UsageUsec
	default:
		check(false, "metrics are a %T", data)
	}
	check(pids == 1 && memory > 0 && cpu > 0, "%d processes, %d bytes, cpu %d", pids, memory, cpu)
	b.endAndDelete()
}

func pidsWithDetails(e *env) {
	b := e.startSleeper()
	x := b.mustExec(nil, "sleep", "1000")
	list, err := b.task.Pids(e.ctx)
	checkNil(err, "asking for pids")
	check(len(list) == 2 && list[0].Pid == b.Pid(), "pids of a task with pid %d and one exec: %v", b.Pid(), list)
	check(list[0].Info == nil && list[1].Info != nil, "details of the init or none of the exec: %v", list)
	data, err := typeurl.UnmarshalAny(list[1].Info)
	checkNil(err, "reading the details")
	details, ok := data.(*runcoptions.ProcessDetails)
	check(ok && details.ExecID == x.ID(), "details are %T %v", data, data)
	checkNil(x.Kill(e.ctx, syscall.SIGKILL), "killing the exec")
	x.mustExit(137)
	list, err = b.task.Pids(e.ctx)
	check(err == nil && len(list) == 1, "pids after the exec's end: %v, %v", list, err)
	b.endAndDelete()
}

func checkpointRefused(e *env) {
	b := e.startSleeper()
	_, err := e.client.TaskService().Checkpoint(e.ctx, &tasks.CheckpointTaskRequest{ContainerID: b.ID()})
	err = errdefs.FromGRPC(err)
	check(errdefs.IsNotImplemented(err), "a checkpoint: %v", err)
	check(!strings.Contains(err.Error(), "\n"), "the error has several lines: %q", err.Error())
	check(b.status() == containerd.Running, "after a refused checkpoint the task is %s", b.status())
	b.endAndDelete()
}

func killAll(e *env) {
	b := e.mustStart(plan{args: sh("sleep 1000 & sleep 1001 & echo up; wait")})
	b.out.waitFor("up\n")
	x := b.mustExec(nil, "sleep", "1002")
	b.mustKill(syscall.SIGKILL, containerd.WithKillAll)
	x.mustExit(137)
	b.mustExit(137)
	b.mustDelete()
}

// The end of input that is asked for before the start is remembered, and what was sent before it arrives.
func closeIOBeforeStart(e *env) {
	in, feed := io.Pipe()
	defer feed.Close()
	b := e.mustCreate(plan{args: sh("cat; echo end"), stdin: in})
	fmt.Fprintln(feed, "early")
	checkNil(b.CloseIO(e.ctx, containerd.WithStdinCloser), "closing the input")
	checkNil(feed.Close(), "closing the feed")
	checkNil(b.Start(e.ctx), "starting")
	b.mustExit(0)
	b.IO().Wait()
	check(b.out.String() == "early\nend\n", "the container wrote %q", b.out.String())
	b.mustDelete()
}

func resizeBeforeStart(e *env) {
	b := e.mustCreate(plan{args: []string{"stty", "size"}, terminal: true})
	checkNil(b.Resize(e.ctx, 99, 33), "resizing")
	checkNil(b.Start(e.ctx), "starting")
	b.mustExit(0)
	b.IO().Wait()
	check(strings.TrimSpace(b.out.String()) == "33 99", "the terminal's size is %q", b.out.String())
	b.mustDelete()
}

func secondDelete(e *env) {
	b := e.startSleeper()
	x := b.mustExec(nil, "true")
	x.mustExit(0)
	_, err := x.Delete(e.ctx)
	checkNil(err, "deleting the exec")
	_, err = x.Delete(e.ctx)
	check(errdefs.IsNotFound(err), "deleting the exec again: %v", err)
	b.mustKill(syscall.SIGKILL)
	b.mustExit(137)
	status, err := b.task.Delete(e.ctx)
	check(err == nil && status.ExitCode() == 137, "deleting: %v, %v", status, err)
	_, err = b.task.Delete(e.ctx)
	check(errdefs.IsNotFound(err), "deleting again: %v", err)
}

// The client itself refuses this, so the service behind it is asked.
func deleteWhileRunning(e *env) {
	b := e.startSleeper()
	x := b.mustExec(nil, "sleep", "1000")
	_, err := e.client.TaskService().DeleteProcess(e.ctx, &tasks.DeleteProcessRequest{ContainerID: b.ID(), ExecID: x.ID()})
	check(errdefs.IsFailedPrecondition(errdefs.FromGRPC(err)), "deleting a running exec: %v", err)
	_, err = e.client.TaskService().Delete(e.ctx, &tasks.DeleteTaskRequest{ContainerID: b.ID()})
	check(errdefs.IsFailedPrecondition(errdefs.FromGRPC(err)), "deleting a running task: %v", err)
	check(b.status() == containerd.Running, "the task is %s", b.status())
	check(b.ask("echo alive") == "alive", "the task does not answer")
	b.endAndDelete()
}

// Everybody who waits gets the code: from before the start, later, after the end; a waiter that gave up disturbs nobody.
func waitersReleased(e *env) {
	b := e.mustCreate(plan{args: sh("trap 'exit 12' TERM; echo up; while :; do sleep 0.1; done")})
	gone, cancel := context.WithCancel(e.ctx)
	_, err := b.task.Wait(gone)
	checkNil(err, "waiting")
	all := waiters(e, b.task)
	checkNil(b.Start(e.ctx), "starting")
	b.out.waitFor("up\n")
	cancel()
	x := b.mustExec(nil, sh("sleep 1; exit 13")...)
	ofExec := waiters(e, x)
	all = append(all, waiters(e, b.task)...)
	checkReleased(ofExec, 13)
	b.mustKill(syscall.SIGTERM)
	checkReleased(all, 12)
	checkReleased(waiters(e, b.task), 12)
	b.mustDelete()
}

func waiters(e *env, process containerd.Process) (all []<-chan containerd.ExitStatus) {
	for i := 0; i < waitersCount; i++ {
		exit, err := process.Wait(e.ctx)
		checkNil(err, "waiting")
		all = append(all, exit)
	}
	return all
}

func checkReleased(all []<-chan containerd.ExitStatus, want uint32) {
	for i, exit := range all {
		select {
		case status := <-exit:
			check(status.Error() == nil && status.ExitCode() == want, "waiter %d got %d, %v", i, status.ExitCode(),
				status.Error())
			check(!status.ExitTime().IsZero(), "waiter %d got no time", i)
		case <-time.After(patience):
			check(false, "waiter %d was not released", i)
		}
	}
}
