// SPDX-License-Identifier: Apache-2.0

// Runs upstream's specs of test/e2e/common against the cluster of --kubeconfig: Ginkgo's flags (--ginkgo.focus,
// --ginkgo.skip, --ginkgo.dryRun) and those of the e2e framework, and --results: a file that gets a line of JSON for each spec
// when it has ended.
package main

import (
	"flag"
	"fmt"
	"os"

	"github.com/onsi/ginkgo"
	"github.com/onsi/gomega"
	"k8s.io/kubernetes/test/e2e/common"
	"k8s.io/kubernetes/test/e2e/framework"
	"k8s.io/kubernetes/test/e2e/framework/config"
)

// A failed spec is in the results and in the exit code.
type failures struct{}

func (failures) Fail() {}

func main() {
	path := flag.String("results", "", "the file for a line of JSON for each spec")
	config.CopyFlags(config.Flags, flag.CommandLine)
	framework.RegisterCommonFlags(flag.CommandLine)
	framework.RegisterClusterFlags(flag.CommandLine)
	flag.Parse()
	framework.AfterReadingAllFlags(&framework.TestContext)
	gomega.RegisterFailHandler(framework.Fail)
	common.CurrentSuite = common.E2E

	results, err := os.Create(*path)
	if err != nil {
		fmt.Fprintf(os.Stderr, "making the file of the results %q: %v\n", *path, err)
		os.Exit(2)
	}
	if !ginkgo.RunSpecsWithDefaultAndCustomReporters(failures{}, "Node conformance", []ginkgo.Reporter{&reporter{results}}) {
		os.Exit(1)
	}
}
