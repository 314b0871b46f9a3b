"""What the Gradscope tab draws, in event files: one tensor per recorded step for the sites, one for their units.

A tag's first event tells its sites and statistics; where a training comes to have other sites, a further tag begins. The
form is that of docs/view-data.md's event files. numpy only.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from tensorboard.compat.proto.summary_pb2 import Summary  # type: ignore[import-untyped]

from gradscope.renderers.tensorboard_form import SITES, UNITS, Author, next_number, tensor_summary
from gradscope.renderers.view_member import sampled_units
from gradscope.renderers.view_sites import facts_of
from gradscope.renderers.view_statistics import UNITS_SHOWN
from gradscope.trace import FloatArray, Trace

# TensorBoard keeps 2,000 events of the tab's per tag, a random choice of more: so no more are written of 100,000 records.
ALL_SITES, LATER_SITES = 1000, 8
# Units are a hundred times as many numbers: a history needs no more columns than these.
ALL_UNITS, LATER_UNITS = 60, 2
MOST_UNITS, LEAST_UNITS = 128, 8  # of one site: rows that can be told apart on a screen
MOST_VALUES = 16_384  # per record, 32 kB in half precision: of a network of 200 sites 27 units each
HALF_LIMIT = float(np.finfo(np.float16).max)


@dataclass(frozen=True)
class Written:
    """How far a member's tensors are written."""

    records: int = 0
    tag: int = -1  # number of the tags that are written to
    form: tuple[tuple[str, ...], ...] = ()  # the sites' names, and the statistics'
    last: Sequence[tuple[int, Summary]] = ()  # of the last record what was left out, to be written at the end


@dataclass(frozen=True)
class Batch:
    """The records of a trace from number `first` on, with the statistics of all sites at them."""

    trace: Trace
    first: int
    by_site: Mapping[str, FloatArray]

    @property
    def steps(self) -> list[int]:
        """The records' steps."""
        found: list[int] = self.trace.steps[self.first :].tolist()
        return found


def tensor_events(batch: Batch, author: Author, written: Written) -> tuple[list[tuple[int, Summary]], Written]:
    """Return (step, summary) of a batch of records, and how far they are written with them."""
    trace = batch.trace
    form = (tuple(site.name for site in trace.sites), tuple(trace.site_statistics), tuple(trace.unit_statistics))
    if not trace.sites or not batch.steps:
        return [], written
    begins = form != written.form
    tag = max(written.tag + 1, next_number()) if begins else written.tag
    about = author.about if begins else None
    found = [*_site_events(batch, written.records, tag, about), *_unit_events(batch, written.records, tag, about)]
    events = [(step, summary) for step, summary, is_kept in found if is_kept]
    last = tuple((step, summary) for step, summary, is_kept in found if not is_kept)
    return events, replace(written, records=written.records + len(batch.steps), tag=tag, form=form, last=last)


def is_written(record: int, all_until: int, stride: int) -> bool:
    """Tell whether record number `record` is written: the first ones all, then every so many, half as often at twice as many.

    >>> [record for record in range(40) if is_written(record, 8, 2)]
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20, 24, 28, 32]
    """
    return record < all_until or record % (stride << (record // all_until).bit_length() - 1) == 0


def _site_events(batch: Batch, count: int, tag: int, about: Mapping[str, object] | None) -> Iterator[tuple[int, Summary, bool]]:
    """Yield (step, summary, whether it is to be written now) of the sites; the last record's in any case.

    `about`, of a tag that begins, is completed by what the tensors hold.
    """
    values = np.stack(list(batch.by_site.values()), axis=2).astype("<f4")  # [record, site, statistic]
    told = about and {**about, "sites": [facts_of(site) for site in batch.trace.sites], "statistics": list(batch.by_site)}
    for i, step in enumerate(batch.steps):
        is_kept = told is not None or is_written(count + i, ALL_SITES, LATER_SITES)
        if is_kept or i == len(values) - 1:
            yield step, tensor_summary(f"{SITES}{tag}", values[i], told), is_kept
        told = None


def _unit_events(batch: Batch, count: int, tag: int, about: Mapping[str, object] | None) -> Iterator[tuple[int, Summary, bool]]:
    """Yield the units' tensors, as above."""
    trace = batch.trace
    names = [name for name in UNITS_SHOWN if name in trace.unit_statistics]
    if not names:
        return
    most = min(MOST_UNITS, max(LEAST_UNITS, MOST_VALUES // (len(names) * len(trace.sites))))
    kept = [sampled_units(site.units, most) for site in trace.sites]
    told = about and {**about, "kept": [len(units) for units in kept], "statistics": names}
    for i, step in enumerate(batch.steps, batch.first):
        is_kept = told is not None or is_written(count + i - batch.first, ALL_UNITS, LATER_UNITS)
        if is_kept or i == len(trace.steps) - 1:
            row = [np.concatenate([trace.unit_statistics[n][s][i, u] for s, u in enumerate(kept)]) for n in names]
            yield step, tensor_summary(f"{UNITS}{tag}", _half(np.stack(row)), told), is_kept
        told = None


def _half(values: FloatArray) -> NDArray[np.float16]:
    """Return values in half precision: what is finite stays so, and what is not quite 0 or 1 does not become it."""
    limited = np.where(np.isfinite(values), np.clip(values, -HALF_LIMIT, HALF_LIMIT), values)
    half = limited.astype("<f2")
    half = np.where((half == 1) & (values < 1), np.nextafter(np.float16(1), np.float16(0)), half)
    return np.where((half == 0) & (values > 0), np.finfo(np.float16).smallest_subnormal, half).astype("<f2")
