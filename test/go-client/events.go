// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"strings"
	"syscall"
	"time"

	apievents "github.com/containerd/containerd/api/events"
	"github.com/containerd/containerd/events"
	"github.com/containerd/typeurl"
)

// A record of all events until `stop`, begun once the first of our own has come back.
type recorder struct {
	envelopes <-chan *events.Envelope
	errs      <-chan error
	stop      context.CancelFunc
}

func (e *env) record() *recorder {
	ctx, cancel := context.WithCancel(e.ctx)
	r := &recorder{stop: cancel}
	r.envelopes, r.errs = e.client.EventService().Subscribe(ctx)
	for end := time.Now().Add(patience); ; {
		check(time.Now().Before(end), "no event came")
		checkNil(e.client.EventService().Publish(e.ctx, "/test/probe", &apievents.ContainerCreate{ID: "probe"}), "publishing")
		select {
		case <-r.envelopes:
			return r
		case err := <-r.errs:
			checkNil(err, "listening")
		case <-time.After(pollStep):
		}
	}
}

// The task events of one container up to its delete, a line each: topic, process where it is not the init, exit code.
func (r *recorder) linesOf(id string, pid uint32) (lines []string) {
	defer r.stop()
	timeout := time.After(patience)
	for {
		var envelope *events.Envelope
		select {
		case envelope = <-r.envelopes:
		case err := <-r.errs:
			check(false, "listening: %v; seen so far: %v", err, lines)
		case <-timeout:
			check(false, "no delete came; seen so far: %v", lines)
		}
		if !strings.HasPrefix(envelope.Topic, "/tasks/") {
			continue
		}
		data, err := typeurl.UnmarshalAny(envelope.Event)
		checkNil(err, "reading an event")
		line := envelope.Topic
		container, process := "", pid
		switch event := data.(type) {
		case *apievents.TaskCreate:
			container, process = event.ContainerID, event.Pid
		case *apievents.TaskStart:
			container, process = event.ContainerID, event.Pid
		case *apievents.TaskExecAdded:
			container, line = event.ContainerID, line+" "+event.ExecID
		case *apievents.TaskExecStarted:
			container, process, line = event.ContainerID, event.Pid, line+" "+event.ExecID
		case *apievents.TaskPaused:
			container = event.ContainerID
		case *apievents.TaskResumed:
			container = event.ContainerID
		case *apievents.TaskExit:
			container, process = event.ContainerID, event.Pid
			if event.ID != id {
				line += " " + event.ID
			}
			line += fmt.Sprintf(" %d", event.ExitStatus)
			check(!event.ExitedAt.IsZero(), "an exit without a time: %v", event)
		case *apievents.TaskDelete:
			container, process, line = event.ContainerID, event.Pid, line+fmt.Sprintf(" %d", event.ExitStatus)
		default:
			check(false, "an event of type %T", data)
		}
		if container != id {
			continue
		}
		check(envelope.Namespace == "default" && !envelope.Timestamp.IsZero(), "envelope %v", envelope)
		check(process == pid, "%s has pid %d, not %d", line, process, pid)
		lines = append(lines, line)
		if envelope.Topic == "/tasks/delete" {
			return lines
		}
	}
}

func eventsInOrder(e *env) {
	r := e.record()
	b := e.startSleeper()
	one, err := b.addExec("one", nil, sh("exit 4")...)
	checkNil(err, "adding an exec")
	checkNil(one.Start(e.ctx), "starting it")
	one.mustExit(4)
	_, err = one.Delete(e.ctx)
	checkNil(err, "deleting it")
	checkNil(b.task.Pause(e.ctx), "pausing")
	checkNil(b.task.Resume(e.ctx), "resuming")
	two, err := b.addExec("two", nil, "sleep", "1000")
	checkNil(err, "adding an exec")
	checkNil(two.Start(e.ctx), "starting it")
	pid := b.Pid()
	b.mustKill(syscall.SIGKILL)
	two.mustExit(137)
	b.mustExit(137)
	b.mustDelete()

	got := strings.Join(r.linesOf(b.container.ID(), pid), "\n")
	want := strings.Join([]string{"/tasks/create", "/tasks/start", "/tasks/exec-added one", "/tasks/exec-started one",
		"/tasks/exit one 4", "/tasks/paused", "/tasks/resumed", "/tasks/exec-added two", "/tasks/exec-started two",
		"/tasks/exit two 137", "/tasks/exit 137", "/tasks/delete 137"}, "\n")
	check(got == want, "the events are\n%s\nnot\n%s", got, want)
}
