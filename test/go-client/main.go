// SPDX-License-Identifier: Apache-2.0

// Command go-client drives a running containerd through its own Go client: what `ctr` cannot ask for.
// One case per call, since the leak check of the integration tests runs after each.
package main

import (
	"flag"
	"fmt"
	"os"
	"sort"
	"time"
)

// A case panics with a failure; what it had made is removed on the way out.
var cases = map[string]func(*env){
	"pod-cri":               podOfCri,
	"pod-crio":              podOfCrio,
	"pod-sandbox-first":     podSandboxFirst,
	"pod-without-sandbox":   podWithoutSandbox,
	"options-path":          optionsPath,
	"options-body":          optionsBody,
	"options-foreign":       optionsForeign,
	"options-bad-body":      optionsBadBody,
	"options-bad-message":   optionsBadMessage,
	"update":                updateLimits,
	"update-impossible":     updateImpossible,
	"metrics":               metricsOfTask,
	"pids":                  pidsWithDetails,
	"checkpoint":            checkpointRefused,
	"kill-all":              killAll,
	"close-io-before-start": closeIOBeforeStart,
	"resize-before-start":   resizeBeforeStart,
	"second-delete":         secondDelete,
	"delete-while-running":  deleteWhileRunning,
	"waiters":               waitersReleased,
	"events":                eventsInOrder,
	"stress":                stress,
}

type failure string

func check(condition bool, format string, arguments ...interface{}) {
	if !condition {
		panic(failure(fmt.Sprintf(format, arguments...)))
	}
}

func checkNil(err error, what string) {
	check(err == nil, "%s: %v", what, err)
}

func run(e *env, name string) (err error) {
	defer func() {
		switch reason := recover().(type) {
		case nil:
		case failure:
			err = fmt.Errorf("%s: %s", name, string(reason))
		default:
			panic(reason)
		}
	}()
	defer e.removeAll()
	cases[name](e)
	return nil
}

func main() {
	var o options
	flag.StringVar(&o.address, "address", "", "containerd's socket")
	flag.StringVar(&o.token, "token", "", "what the id of every container begins with")
	flag.StringVar(&o.fifos, "fifo-dir", "", "where the pipes of the clients are made")
	flag.StringVar(&o.prefix, "prefix", "", "the installation under test")
	flag.StringVar(&o.runtime, "runtime", "io.containerd.kata.v2", "name of the runtime")
	flag.DurationVar(&o.duration, "duration", 30*time.Second, "stress: no new container after this time")
	flag.IntVar(&o.cycles, "cycles", 0, "stress: containers of each worker; 0: as many as fit in the time")
	flag.IntVar(&o.workers, "workers", 3, "stress: containers at once")
	flag.Int64Var(&o.seed, "seed", time.Now().UnixNano(), "stress: seed of what is chosen at random")
	flag.Usage = func() {
		var names []string
		for name := range cases {
			names = append(names, name)
		}
		sort.Strings(names)
		fmt.Fprintln(os.Stderr, "usage: go-client OPTIONS CASE; cases:", names)
		flag.PrintDefaults()
	}
	flag.Parse()
	if flag.NArg() != 1 || cases[flag.Arg(0)] == nil {
		flag.Usage()
		os.Exit(2)
	}
	e, err := connect(o)
	if err == nil {
		err = run(e, flag.Arg(0))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
