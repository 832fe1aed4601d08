#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""usage: test/run kubernetes conformance [--focus REGEX] [--skip REGEX] [--only kata|runc] [--list]

Runs upstream's specs that are marked NodeConformance under runc and here, one after the other on the same cluster, and
lists those that runc alone passes. Here each pod gets the runtime class, but those of the node's network. Such a
difference is right if docs/limitations.md admits it with its reason; any other is a failure, and so is an admitted one
that passes. --focus, --skip: of the specs' names, as often as is needed.
Results and texts are kept in build/kubernetes: conformance-RUNTIME.json and .log.
"""
import argparse
import contextlib
import json
import pathlib
import re
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "integration")]
import admission  # noqa: E402  (found through the line above)
import cluster as cluster_module  # noqa: E402
import harness  # noqa: E402

RUNTIMES = (cluster_module.RUNC, cluster_module.KATA)
MARK = r"\[NodeConformance\]"
# Pulls need a network; the slow ones wait half an hour for one back-off of the kubelet's.
SKIPPED = [r"able to pull", r"\[Slow\]"]
HEADING = "## Kubernetes' conformance"
DIFFERENCES_MAX = 5
RUN_SECONDS = 4 * 3600
BUSYBOX, AGNHOST = "docker.io/library/busybox:1.29", "k8s.gcr.io/e2e-test-images/agnhost:2.21"


def images(programs):
    """Upstream's images by name, made of upstream's programs, and of busybox in place of Alpine, httpd and nginx."""
    web = ["--command", "sh -c 'mkdir -p /www; echo served > /www/index.html; exec httpd -f -p 80 -h /www'"]
    return {
        BUSYBOX: [],
        AGNHOST: ["--add", f"{programs}/agnhost:/agnhost", "--link", "agnhost:/agnhost-2", "--entrypoint", "/agnhost",
                  "--add", f"{programs}/localhost.crt:/localhost.crt", "--command", "pause",
                  "--add", f"{programs}/localhost.key:/localhost.key", "--add", f"{HERE}/images/curl:/bin/curl"],
        "docker.io/library/httpd:2.4.38-alpine": web,
        "docker.io/library/nginx:1.14-alpine": web,
        "gcr.io/kubernetes-e2e-test-images/nonewprivs:1.0": ["--add", f"{programs}/nnp:/usr/local/bin/nnp:4755",
                                                              "--command", "/usr/local/bin/nnp"],
        "gcr.io/kubernetes-e2e-test-images/nonroot:1.0": ["--user", "1234"],
    }


def run(cluster, runtime, focus, skip, dry=False):
    """{name: result} of the specs that have run under one runtime."""
    results = cluster.work / f"conformance-{runtime}.json"
    command = [cluster.programs / "conformance", f"--kubeconfig={cluster.user_file('admin')}", "--provider=skeleton",
               f"--results={results}", f"--ginkgo.focus={focus}", f"--ginkgo.skip={skip}", "--ginkgo.noColor",
               "--ginkgo.v", "--ginkgo.seed=1", f"--ginkgo.dryRun={str(dry).lower()}", "--dump-logs-on-failure=false",
               "--disable-log-dump"]
    chosen = admission.giving_the_class(cluster) if runtime == cluster_module.KATA else contextlib.nullcontext()
    with open(cluster.work / f"conformance-{runtime}.log", "wb") as log, chosen:
        subprocess.run(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, timeout=RUN_SECONDS, check=False)
    lines = [json.loads(line) for line in harness.read(results).splitlines()]
    return {line["name"]: line for line in lines}


def admitted():
    """{name: reason} of the table in docs/limitations.md."""
    text = harness.read(harness.REPOSITORY / "docs/limitations.md")
    section = text.partition(HEADING + "\n")[2].partition("\n## ")[0]
    rows = dict(re.findall(r"^\| `([^`]+)` \| ([^|]{10,}) \|$", section, re.MULTILINE))
    assert len(rows) <= DIFFERENCES_MAX, f"more than {DIFFERENCES_MAX} differences are no conformance"
    return rows


def judge(runc, kata, rows):
    """(faults, notes), one line each."""
    faults, notes = [], []
    for name, one in sorted(runc.items()):
        other = kata.get(name)
        if not one["passed"]:
            notes.append(f"fails with runc: {name}: {first_line(one)}")
        elif other is None:
            faults.append(f"was not run here: {name}")
        elif not other["passed"] and name not in rows:
            faults.append(f"fails here alone: {name}: {first_line(other)}")
        elif other["passed"] and name in rows:
            faults.append(f"passes, though docs/limitations.md says it does not: {name}")
    failed = [name for name, one in sorted(runc.items()) if not one["passed"]]
    notes += [f"passes here alone: {name}" for name in failed if name in kata and kata[name]["passed"]]
    faults += [f"docs/limitations.md names what is no spec: {name}" for name in rows if name not in runc]
    return faults, notes


def first_line(one):
    return one["message"].strip().splitlines()[0][:200] if one["message"].strip() else "no message"


def summary(runtime, results):
    passed = sum(one["passed"] for one in results.values())
    return f"{runtime}: {passed} of {len(results)} specs pass, {sum(one['seconds'] for one in results.values()):.0f} s"


def main():
    parser = argparse.ArgumentParser(prog="test/run kubernetes conformance", description=__doc__.split("\n\n")[1])
    parser.add_argument("--focus", action="append", default=[], metavar="REGEX")
    parser.add_argument("--skip", action="append", default=[], metavar="REGEX")
    parser.add_argument("--only", choices=RUNTIMES)
    parser.add_argument("--list", action="store_true", help="print the specs' names and run none")
    options = parser.parse_args()
    # The mark is in each name's end, or in a word before it.
    focus = [f"{word}.*{MARK}" for word in options.focus] + [f"{MARK}.*{word}" for word in options.focus] or [MARK]
    focus, skip = "|".join(focus), "|".join([*SKIPPED, *options.skip])
    wanted = [options.only] if options.only else RUNTIMES

    results = {}
    with cluster_module.running() as cluster:
        if options.list:
            print(*sorted(run(cluster, wanted[0], focus, skip, dry=True)), sep="\n")
            return 0
        for name, flags in images(cluster.programs).items():
            cluster.import_image(name, *flags)
        for runtime in wanted:
            results[runtime] = run(cluster, runtime, focus, skip)
            print(summary(runtime, results[runtime]), flush=True)
            left = cluster.wait_clean()
            print(*[f"left behind: {line}" for line in left], sep="\n", end="\n" if left else "")
    if not all(results.values()):
        print("no spec was run: see build/kubernetes/conformance-*.log")
        return 1
    if options.only:
        failed = [one for _, one in sorted(results[options.only].items()) if not one["passed"]]
        print(*[f"fails: {one['name']}: {first_line(one)}" for one in failed], sep="\n")
        return 0
    rows = admitted()
    if options.focus or options.skip:
        rows = {name: reason for name, reason in rows.items() if name in results[cluster_module.RUNC]}
    faults, notes = judge(results[cluster_module.RUNC], results[cluster_module.KATA], rows)
    print(*notes, *faults, f"{len(faults)} faults", sep="\n")
    return bool(faults)


if __name__ == "__main__":
    sys.exit(main())
