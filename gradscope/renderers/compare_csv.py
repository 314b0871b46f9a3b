"""A comparison as CSV: one line per row that both tables have."""

from __future__ import annotations

import csv
import io

from gradscope.comparison import Comparison
from gradscope.sweep_tables import share

COLUMNS = (
    "a_mean", "a_runs", "a_std_err", "a_collapsed", "b_mean", "b_runs", "b_std_err", "b_collapsed",
    "difference", "std_err", "low", "high", "tolerance", "agrees",
)  # fmt: skip


def comparison_csv(found: Comparison) -> str:
    """Return the table with the factors first; what is not known is empty, `agrees` is yes or no."""
    stream = io.StringIO()
    stream.write(f"# a: {found.a.name}\n# b: {found.b.name}\n")
    writer = csv.writer(stream, lineterminator="\n")
    names = found.factor_names
    writer.writerow([*names, *COLUMNS])
    for row in found.rows:
        sides = [
            [share(side.mean), side.runs, share(side.std_err), "" if side.collapsed is None else side.collapsed]
            for side in (row.a, row.b)
        ]
        low, high = row.interval or (None, None)
        ends = [share(value) for value in (row.difference, row.std_err, low, high, row.tolerance)]
        factors = [row.factors.get(name, "") for name in names]
        writer.writerow([*factors, *sides[0], *sides[1], *ends, "yes" if row.agrees else "no"])
    return stream.getvalue()
