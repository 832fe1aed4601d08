# SPDX-License-Identifier: Apache-2.0
"""The values that were measured, by row and by subject: medians and spreads, ratios, what moved since another run."""
import dataclasses
import json
import statistics

SMALLER_IS_BETTER = ("s", "ms", "MB", "KiB", "requests", "pods")


@dataclasses.dataclass
class Row:
    name: str
    unit: str
    goal: str = ""
    values: dict = dataclasses.field(default_factory=dict)  # subject: [value], one of each round


def median(values):
    return statistics.median(values)


def spread(values):
    """Half of the range in which the middle half lies; 0 for less than four."""
    if len(values) < 4:
        return 0.0
    quarters = statistics.quantiles(values, n=4)
    return (quarters[2] - quarters[0]) / 2


def ratio(mine, others):
    """The median of the ratios round by round, where both have the same rounds; else of the medians."""
    if len(mine) == len(others) and all(others):
        return median([one / other for one, other in zip(mine, others)])
    return median(mine) / median(others) if median(others) else float("nan")


class Samples:
    def __init__(self):
        self.rows = {}

    def add(self, name, unit, subject, value, goal=""):
        row = self.rows.setdefault(name, Row(name, unit, goal))
        assert row.unit == unit, f"{name}: {unit} and {row.unit}"
        row.goal = row.goal or goal
        row.values.setdefault(subject, []).append(value)

    def save(self, path, about):
        rows = [dataclasses.asdict(row) for row in self.rows.values()]
        path.write_text(json.dumps({**about, "rows": rows}, indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path):
        samples = cls()
        for row in json.loads(path.read_text(encoding="utf-8"))["rows"]:
            samples.rows[row["name"]] = Row(**row)
        return samples

    def table(self, mine, references):
        """Lines: each row's medians with their spreads, and the ratio to each reference that has the row."""
        subjects = list(dict.fromkeys(subject for row in self.rows.values() for subject in row.values))
        others = [name for name in references if name in subjects]
        yield "  ".join([f"{'what':<60}", *(f"{name:>16}" for name in subjects), *(f"{'/ ' + name:>7}" for name in others), "goal"])
        for row in self.rows.values():
            cells = [f"{row.name + ', ' + row.unit:<60}"]
            for subject in subjects:
                values = row.values.get(subject)
                cells.append(f"{shown(values) if values else '':>16}")
            for other in others:
                both = mine in row.values and other in row.values and other != mine
                cells.append(f"{ratio(row.values[mine], row.values[other]) if both else '':>7.3}" if both else " " * 7)
            yield "  ".join([*cells, row.goal]).rstrip()

    def moved(self, before, mine, references):
        """Lines: what differs from `before` by more than both spreads. Ratios to a reference where both runs have one: they
        hold on another machine, or on a busy one."""
        for row in self.rows.values():
            old = before.rows.get(row.name)
            if old is None or mine not in row.values or mine not in old.values:
                continue
            reference = next((name for name in references if name in row.values and name in old.values), None)
            now, then = (scaled(each, mine, reference) for each in (row, old))
            change = median(now) / median(then) if median(then) else float("nan")
            if abs(median(now) - median(then)) <= spread(now) + spread(then):
                continue
            better = (change < 1) == (row.unit in SMALLER_IS_BETTER)
            kind = f"to {reference}" if reference else row.unit
            yield (f"{'better' if better else 'WORSE':<6} {row.name}: {median(then):.3g} -> {median(now):.3g} {kind}, "
                   f"{change:.2f} times")


def scaled(row, mine, reference):
    values = row.values[mine]
    if reference is None:
        return values
    others = row.values[reference]
    if len(values) == len(others):
        return [value / other for value, other in zip(values, others)]
    return [value / median(others) for value in values]


def shown(values):
    width = spread(values)
    text = f"{median(values):.3g}" if median(values) < 1000 else f"{median(values):.0f}"
    return f"{text} ±{width:.2g}" if width else text
