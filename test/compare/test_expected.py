# SPDX-License-Identifier: Apache-2.0
"""The runner's judgement: what is found, what the table admits, and that neither can rot. Needs no container."""
import pathlib
import sys

import pytest

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE / "topics"), str(HERE.parent / "integration")]
import case as cases_module  # noqa: E402
import compare  # noqa: E402
import expected  # noqa: E402

ROW = "| `users/x` | `uid 0` | `uid *` | a reason of some length |"


def table(*lines):
    return expected.parse("\n".join(["# Limits", "", expected.HEADING, "", "| case | runc | here | reason |", "|---|---|---|---|", *lines]))


def test_same_texts_do_not_differ():
    assert expected.difference("users/x", "a\nb", "a\nb") is None


def test_only_the_lines_that_differ_are_told():
    found = expected.difference("users/x", "a\nb\nc", "a\nB\nc\nd")

    assert (found.runc, found.here) == (("b",), ("B", "d"))


def test_admitted_difference_is_right():
    found = [expected.Difference("users/x", ("uid 0",), ("uid 7",))]

    assert expected.judge(found, table(ROW), {"users/x"}) == ([], [])


@pytest.mark.parametrize("runc, here", [(("uid 1",), ("uid 7",)), (("uid 0",), ("gid 7",)), (("uid 0", "more"), ("uid 7",)),
                                        (("uid 0",), ("uid 7", "more")), (("uid 0",), ())])
def test_another_difference_in_an_admitted_case_fails(runc, here):
    found = [expected.Difference("users/x", runc, here)]

    unexpected, stale = expected.judge(found, table(ROW), {"users/x"})

    assert unexpected == found and stale == table(ROW)


def test_admitted_difference_that_does_not_occur_fails():
    assert expected.judge([], table(ROW), {"users/x"}) == ([], table(ROW))


def test_rows_of_cases_that_did_not_run_are_left_alone():
    assert expected.judge([], table(ROW), {"users/y"}) == ([], [])


@pytest.mark.parametrize("row", ["| `users/x` | `a` | `b` | |", "| `users/x` | `a` | `b` | short |", "| `users/x` | nothing | nothing | a long enough reason |",
                                 "| `users/x` | | `b` | a long enough reason |", "| `users/x` | `a` | a long enough reason |"])
def test_row_that_says_too_little_is_refused(row):
    with pytest.raises(ValueError):
        table(row)


def test_two_rows_for_a_case_are_refused():
    with pytest.raises(ValueError):
        table(ROW, ROW)


def test_other_sections_are_not_read():
    assert expected.parse(f"## Else\n\n{ROW}\n") == []
    assert expected.parse(f"{expected.HEADING}\n\n## Else\n\n{ROW}\n") == []


def test_bar_in_a_line():
    row = table(r"| `users/x` | `a \| b` | nothing | a reason of some length |")[0]

    assert row.matches(expected.Difference("users/x", ("a | b",), ()))


def test_row_printed_for_a_difference_is_read_back():
    found = expected.Difference("users/x", ("a | b", "c"), ())

    assert table(compare.as_row(found).replace("| |", "| a reason of some length |"))[0].matches(found)


def test_case_that_shows_nothing_is_told_though_both_sides_agree():
    case = cases_module.Case("users/x", r"uid: 0")

    found, broken = compare.find_differences([{"users/x": "sh: probe: not found"}, {"users/x": "sh: probe: not found"}], [case])

    assert not found and len(broken) == 1


def test_there_are_enough_cases_of_each_topic():
    cases = compare.all_cases()

    assert len(cases) >= compare.CASES_MIN
    assert {case.topic for case in cases} == set(cases_module.TOPICS)


def test_the_document_speaks_of_cases_that_there_are():
    assert not expected.unknown(compare.rows(), {case.name for case in compare.all_cases()})


def test_a_row_of_any_admits_its_cases_and_no_other():
    rows = table("| `views/x`, `views/y` | any | any | the kernel's configuration |")
    found = [expected.Difference(name, ("a",), ("b",)) for name in ("views/x", "views/z")]

    assert expected.judge(found, rows, {"views/x", "views/y", "views/z"}) == ([found[1]], [])
