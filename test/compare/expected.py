# SPDX-License-Identifier: Apache-2.0
"""The differences that docs/limitations.md admits, and what is left when they are taken from those found.

A row of the table under HEADING: | `case` | `line with runc`, ... | `line here`, ... | reason |. Lines are code spans; `*` in
one stands for any text; "nothing" stands for no line. A row must match all that differs in its case, and must occur. What
follows the kernel's version and configuration differs from host to host: | `case`, ... | any | any | reason |.
"""
import dataclasses
import difflib
import re

HEADING = "## What differs from runc"


@dataclasses.dataclass(frozen=True)
class Difference:
    case: str
    runc: tuple[str, ...]
    here: tuple[str, ...]

    def __str__(self):
        return "\n".join([self.case, *[f"    runc: {line}" for line in self.runc], *[f"    here: {line}" for line in self.here]])


@dataclasses.dataclass(frozen=True)
class Row(Difference):
    reason: str
    is_any: bool = False

    def matches(self, found):
        if self.is_any:
            return self.case == found.case
        return self.case == found.case and _alike(self.runc, found.runc) and _alike(self.here, found.here)


def _alike(patterns, lines):
    return len(patterns) == len(lines) and all(
        re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), line) for pattern, line in zip(patterns, lines))


def difference(case, runc, here):
    """The lines that only one of two texts has; None if they are the same."""
    if runc == here:
        return None
    left, right = runc.splitlines(), here.splitlines()
    only_left, only_right = [], []
    for kind, a, b, c, d in difflib.SequenceMatcher(None, left, right, autojunk=False).get_opcodes():
        if kind != "equal":
            only_left += left[a:b]
            only_right += right[c:d]
    return Difference(case, tuple(only_left), tuple(only_right))


def parse(text):
    """The rows of the table. Raises ValueError for a row that says too little."""
    rows = []
    section = text.split(HEADING + "\n", 1)[1] if HEADING + "\n" in text else ""
    for line in re.split(r"^## ", section, maxsplit=1, flags=re.MULTILINE)[0].splitlines():
        if not line.startswith("| `"):
            continue
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        if len(cells) != 4 or len(cells[3]) < 10:
            raise ValueError(f"a row needs a case, what runc says, what comes here, and a reason: {line}")
        case, runc, here = (tuple(span.replace("\\|", "|") for span in re.findall(r"`([^`]+)`", cell)) for cell in cells[:3])
        if cells[1] == cells[2] == "any" and case:
            rows += [Row(name, (), (), cells[3], is_any=True) for name in case]
            continue
        if len(case) != 1 or (not runc and not here):
            raise ValueError(f"a row needs one case and a line on one side at least: {line}")
        for cell, spans in ((cells[1], runc), (cells[2], here)):
            if not spans and cell != "nothing":
                raise ValueError(f'a side without a line says "nothing": {line}')
        rows.append(Row(case[0], runc, here, cells[3]))
    names = [row.case for row in rows]
    if len(set(names)) != len(names):
        raise ValueError(f"cases with two rows: {sorted(name for name in set(names) if names.count(name) > 1)}")
    return rows


def judge(found, rows, ran):
    """(differences that no row admits, rows of cases that ran and do not differ so any more)."""
    unexpected = [one for one in found if not any(row.matches(one) for row in rows)]
    stale = [row for row in rows if row.case in ran and not row.is_any and not any(row.matches(one) for one in found)]
    return unexpected, stale


def unknown(rows, names):
    """Rows for cases that there are not."""
    return [row.case for row in rows if row.case not in names]
