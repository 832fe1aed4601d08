// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"

	runtimeoptions "github.com/containerd/containerd/pkg/runtimeoptions/v1"
	runcoptions "github.com/containerd/containerd/runtime/v2/runc/options"
	"github.com/gogo/protobuf/types"
)

const optionsType = "runtimeoptions.v1.Options"

// The third field, config_body, is younger than this client.
func bodyOptions(body string) *types.Any {
	value := append([]byte{3<<3 | 2}, binary.AppendUvarint(nil, uint64(len(body)))...)
	return &types.Any{TypeUrl: optionsType, Value: append(value, body...)}
}

func (e *env) checkKernelWord(options interface{}, word string) {
	b := e.mustStart(plan{args: []string{"cat", "/proc/cmdline"}, options: options})
	b.mustExit(0)
	b.IO().Wait()
	check(strings.Contains(b.out.String(), word), "%q is not on the guest's command line %q", word, b.out.String())
	b.mustDelete()
}

func optionsPath(e *env) {
	text, err := os.ReadFile(filepath.Join(e.prefix, "share/defaults/kata-containers/configuration.toml"))
	checkNil(err, "reading the default configuration")
	directory, err := os.MkdirTemp("", "kata-go-client")
	checkNil(err, "making a directory")
	defer os.RemoveAll(directory)
	path := filepath.Join(directory, "configuration.toml")
	changed := strings.Replace(string(text), `kernel_params = ""`, `kernel_params = "test.word=path"`, 1)
	checkNil(os.WriteFile(path, []byte(changed), 0o600), "writing a configuration")
	e.checkKernelWord(&runtimeoptions.Options{ConfigPath: path}, "test.word=path")

	missing := filepath.Join(directory, "missing.toml")
	_, err = e.start(plan{args: []string{"true"}, options: &runtimeoptions.Options{ConfigPath: missing}})
	check(err != nil && strings.Contains(err.Error(), missing), "a configuration that is not there: %v", err)
}

func optionsBody(e *env) {
	e.checkKernelWord(bodyOptions("[hypervisor.qemu]\nkernel_params = \"test.word=body\"\n"), "test.word=body")
	// Longer than 127 bytes: its length is no text then, and nothing may be said about that where `start` answers.
	comment := "#" + strings.Repeat(" long", 100) + "\n"
	e.checkKernelWord(bodyOptions(comment+"[hypervisor.qemu]\nkernel_params = \"test.word=long\"\n"), "test.word=long")
}

func optionsForeign(e *env) {
	for _, foreign := range []interface{}{
		&runcoptions.Options{NoPivotRoot: true, BinaryName: "/there/is/no/such/program"},
		&types.Any{TypeUrl: "example.org/Unknown", Value: []byte{0xff, 0xff, 0xff}},
	} {
		b := e.mustStart(plan{args: []string{"true"}, options: foreign})
		b.mustExit(0)
		b.mustDelete()
	}
}

// One line that names where and what.
func (e *env) checkRefused(options interface{}, words ...string) {
	_, err := e.start(plan{args: []string{"true"}, options: options})
	check(err != nil, "options that cannot be meant were taken")
	for _, word := range words {
		check(strings.Contains(err.Error(), word), "%q is not in the error: %v", word, err)
	}
	// What a failed `start` wrote ends with a new line, to which containerd adds the exit code.
	text := strings.Replace(err.Error(), "\n: exit status", ": exit status", 1)
	check(!strings.Contains(text, "\n"), "the error has several lines: %q", text)
}

func optionsBadBody(e *env) {
	e.checkRefused(bodyOptions("[hypervisor.qemu]\nkernel_parms = \"x\"\n"), "ConfigBody", "kernel_parms", "kernel_params")
	e.checkRefused(bodyOptions("[hypervisor.qemu]\ndefault_memory = \"much\"\n"), "ConfigBody", "default_memory")
	e.checkRefused(bodyOptions("[hypervisor.qemu\n"), "ConfigBody")
}

func optionsBadMessage(e *env) {
	e.checkRefused(&types.Any{TypeUrl: optionsType, Value: []byte{0xff, 0xff, 0xff}}, optionsType)
}
