# SPDX-License-Identifier: Apache-2.0
"""The distributions of all rows as SVG, by gnuplot: a dot for each value, a bar at the median."""
import re
import subprocess

from samples import median

WIDTH, HEIGHT = 700, 60
SCRIPT = """
set terminal svg size {width},{height} noenhanced
set output "{path}"
set title "{title}"
set xlabel "{unit}"
set xrange [0:*]
set yrange [{top}:-0.5]
set ytics ({names})
set grid xtics
unset key
$values << END
{values}
END
$medians << END
{medians}
END
plot $values using 1:2 with points pointtype 7 pointsize 0.5, $medians using 1:2 with points pointtype 2 pointsize 1.5 linewidth 2
"""


def name_of(row):
    return re.sub(r"[^a-z0-9]+", "-", row.name.lower()).strip("-") + ".svg"


def draw(samples, directory):
    """One file for each row of which somebody has more than one value."""
    directory.mkdir(parents=True, exist_ok=True)
    for row in samples.rows.values():
        if max(len(values) for values in row.values.values()) < 2:
            continue
        rows = list(enumerate(row.values.items()))
        script = SCRIPT.format(
            width=WIDTH, height=HEIGHT * len(rows) + 120, path=directory / name_of(row), title=row.name.strip(), unit=row.unit,
            top=len(rows) - 0.5, names=", ".join(f'"{subject}" {height}' for height, (subject, _) in rows),
            values="\n".join(f"{value} {height}" for height, (_, values) in rows for value in values),
            medians="\n".join(f"{median(values)} {height}" for height, (_, values) in rows))
        subprocess.run(["gnuplot"], input=script, text=True, check=True)
