#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""usage: test/run compare [-k WORD]... [--topic TOPIC]... [--quick] [--list] [--rows] [--runc-twice] [--keep FILE]

Runs the same cases under runc and under Kata, side by side behind one containerd, and lists what differs. Differences
that docs/limitations.md admits, each with its reason, are right; any other is a failure, and so is an admitted one that
does not occur any more. --quick: the cases of plain containers, hundreds in a few boots. --rows prints the failures as rows for that table; --runc-twice compares runc with itself, which
shows cases that are not sure; --keep writes all texts to a file.
"""
import argparse
import collections
import importlib
import json
import os
import pathlib
import signal
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE / "topics"), str(HERE.parent / "integration")]
import case as cases_module  # noqa: E402  (found through the line above)
import expected  # noqa: E402
import harness  # noqa: E402
import runner  # noqa: E402

LIMITATIONS = harness.REPOSITORY / "docs/limitations.md"
CASES_MIN = 150


def all_cases():
    for topic in cases_module.TOPICS:
        importlib.import_module(topic)
    assert len(cases_module.CASES) >= CASES_MIN
    return cases_module.CASES


def rows():
    return expected.parse(LIMITATIONS.read_text(encoding="utf-8") if LIMITATIONS.exists() else "")


def find_differences(texts, cases):
    """(differences, complaints about cases that show nothing)."""
    runc, here = texts
    found, broken = [], []
    for case in cases:
        why = case.broken(runc[case.name])
        if why:
            broken.append(f"{case.name}: {why}\n    " + runc[case.name][:2000].replace("\n", "\n    "))
        difference = expected.difference(case.name, runc[case.name], here[case.name])
        if difference:
            found.append(difference)
    return found, broken


def as_row(one):
    def cell(lines):
        return ", ".join("`" + line.replace("|", "\\|") + "`" for line in lines) or "nothing"
    return f"| `{one.case}` | {cell(one.runc)} | {cell(one.here)} | |"


def choose(options, cases):
    return [case for case in cases if (not options.quick or case.quick) and (not options.k or any(word in case.name for word in options.k)) and
            (not options.topic or case.topic in options.topic)]


def report(options, cases, texts, table):
    found, broken = find_differences(texts, cases)
    unexpected, stale = expected.judge(found, table, {case.name for case in cases})
    for one in unexpected:
        print(as_row(one) if options.rows else f"differs: {one}")
    for row in stale:
        print(f"does not occur any more, take it out of docs/limitations.md: {row}")
    for text in broken:
        print(f"shows nothing: {text}")
    topics = collections.Counter(case.topic for case in cases)
    print(f"{len(cases)} cases ({', '.join(f'{count} {topic}' for topic, count in topics.items())}): "
          f"{len(cases) - len(found)} the same, {len(found) - len(unexpected)} differ as docs/limitations.md says, "
          f"{len(unexpected)} differ otherwise, {len(stale)} said to differ do not, {len(broken)} show nothing")
    return 1 if unexpected or stale or broken else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], usage=__doc__.splitlines()[0][7:])
    parser.add_argument("-k", action="append", metavar="WORD", help="only cases with it in their names")
    parser.add_argument("--topic", action="append", choices=cases_module.TOPICS)
    parser.add_argument("--quick", action="store_true", help="only the cases that run in plain containers")
    parser.add_argument("--list", action="store_true", help="print the names of the cases")
    parser.add_argument("--rows", action="store_true", help="print differences as rows of the table")
    parser.add_argument("--runc-twice", action="store_true", help="compare runc with itself")
    parser.add_argument("--keep", metavar="FILE", help="write all texts, as JSON")
    options = parser.parse_args()
    cases = choose(options, all_cases())
    table = [] if options.runc_twice else rows()
    missing = expected.unknown(table, {case.name for case in cases_module.CASES})
    if missing:
        sys.exit(f"docs/limitations.md speaks of cases that there are not: {missing}")
    if options.list:
        print("\n".join(case.name for case in cases))
        return 0
    if not cases:
        sys.exit("no case has such a name")
    prefix = pathlib.Path(os.environ.get("KATA_PREFIX", harness.REPOSITORY / "build/stage"))
    probe = os.environ.get("KATA_COMPARE_PROBE", harness.REPOSITORY / "build/ci/test/compare_probe")
    runtimes = (runner.RUNC, runner.RUNC if options.runc_twice else runner.KATA)
    # A run that is told to stop takes its containers away.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    begin = time.monotonic()
    with runner.both_sides(prefix, probe, runtimes) as sides:
        texts = runner.run(sides, cases, progress=lambda text: print(text, file=sys.stderr, flush=True))
        if options.keep:
            pathlib.Path(options.keep).write_text(json.dumps(dict(zip(("runc", "here"), texts)), indent=1), encoding="utf-8")
        # Before the look for what is left, which may fail.
        code = report(options, cases, texts, table)
        sys.stdout.flush()
    print(f"in {time.monotonic() - begin:.0f} s")
    return code


if __name__ == "__main__":
    sys.exit(main())
