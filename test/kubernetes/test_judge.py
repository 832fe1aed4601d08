# SPDX-License-Identifier: Apache-2.0
"""What conformance.py makes of two runs. Needs no cluster."""
import conformance


def results(**passed):
    return {name: {"name": name, "passed": good, "seconds": 1, "message": "" if good else "why\nwhere"}
            for name, good in passed.items()}


def test_the_same_is_right():
    assert conformance.judge(results(a=True, b=True), results(a=True, b=True), {}) == ([], [])


def test_a_failure_here_alone_is_a_fault_unless_admitted():
    runs = results(a=True), results(a=False)
    assert conformance.judge(*runs, {}) == (["fails here alone: a: why"], [])
    assert conformance.judge(*runs, {"a": "a good reason"}) == ([], [])


def test_a_failure_of_runc_is_no_fault_of_ours():
    assert conformance.judge(results(a=False), results(a=False), {}) == ([], ["fails with runc: a: why"])
    assert conformance.judge(results(a=False), results(a=True), {})[0] == []


def test_a_spec_that_was_not_run_is_a_fault():
    assert conformance.judge(results(a=True), {}, {})[0] == ["was not run here: a"]


def test_a_row_that_is_true_no_more_is_a_fault():
    assert len(conformance.judge(results(a=True), results(a=True), {"a": "a good reason"})[0]) == 1
    assert len(conformance.judge(results(a=True), results(a=True), {"gone": "a good reason"})[0]) == 1
