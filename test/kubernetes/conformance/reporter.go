// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"

	"github.com/onsi/ginkgo/config"
	"github.com/onsi/ginkgo/types"
)

// One line of the results.
type result struct {
	Name    string  `json:"name"`
	Passed  bool    `json:"passed"`
	Seconds float64 `json:"seconds"`
	Message string  `json:"message"`
}

// Writes a line for each spec that has run, at once: whoever ends the run knows what has been seen until then.
type reporter struct{ out *os.File }

func (r *reporter) SpecDidComplete(spec *types.SpecSummary) {
	if spec.Skipped() || spec.Pending() {
		return
	}
	line := result{
		Name:    strings.Join(spec.ComponentTexts[1:], " "),
		Passed:  spec.Passed(),
		Seconds: spec.RunTime.Seconds(),
		Message: spec.Failure.Message,
	}
	if err := json.NewEncoder(r.out).Encode(line); err != nil {
		fmt.Fprintf(os.Stderr, "writing the results: %v\n", err)
		os.Exit(2)
	}
}

func (*reporter) SpecSuiteWillBegin(config.GinkgoConfigType, *types.SuiteSummary) {}
func (*reporter) BeforeSuiteDidRun(*types.SetupSummary)                           {}
func (*reporter) SpecWillRun(*types.SpecSummary)                                  {}
func (*reporter) AfterSuiteDidRun(*types.SetupSummary)                            {}
func (*reporter) SpecSuiteDidEnd(*types.SuiteSummary)                             {}
