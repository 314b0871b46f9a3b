"""What the Gradscope tab draws, in event files: one tensor per recorded step for the sites, one for their units.

A tag's first event tells its sites and statistics; where a training comes to have other sites, a further tag begins. The
form is that of docs/view-data.md's event files. numpy only.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from tensorboard.compat.proto.summary_pb2 import DATA_CLASS_TENSOR, Summary, SummaryMetadata  # type: ignore[import-untyped]
from tensorboard.compat.proto.tensor_pb2 import TensorProto  # type: ignore[import-untyped]
from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto  # type: ignore[import-untyped]
from tensorboard.compat.proto.types_pb2 import DT_FLOAT, DT_HALF, DT_STRING  # type: ignore[import-untyped]

from gradscope.renderers.view_member import sampled_units
from gradscope.renderers.view_sites import facts_of
from gradscope.renderers.view_statistics import UNITS_SHOWN, site_statistics
from gradscope.trace import FloatArray, Trace

PLUGIN = "gradscope"
SITES, UNITS, REPORT = "gradscope/sites", "gradscope/units", "gradscope/report"
FORM = 1  # of the tensors and what their tags tell

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


def tensor_events(trace: Trace, after: int, written: Written) -> tuple[list[tuple[int, Summary]], Written]:
    """Return (step, summary) of the records beyond step `after`, and how far it is written with them."""
    form = (tuple(site.name for site in trace.sites), tuple(trace.site_statistics), tuple(trace.unit_statistics))
    first = int(np.searchsorted(trace.steps, after, side="right"))
    if not trace.sites or first == len(trace.steps):
        return [], written
    begins = form != written.form
    tag = written.tag + begins
    events = [
        *_site_events(trace, first, written.records, tag, begins),
        *_unit_events(trace, first, written.records, tag, begins),
    ]
    return events, replace(written, records=written.records + len(trace.steps) - first, tag=tag, form=form)


def report_summary(described: Mapping[str, object]) -> Summary:
    """Return the diagnosis for the tab; its tag tells the verdict, for the list of runs."""
    about = {"form": FORM, "title": described["title"], "verdict": described["verdict"]}
    text = json.dumps(described, allow_nan=False, separators=(",", ":")).encode()
    tensor = TensorProto(dtype=DT_STRING, string_val=[text], tensor_shape=TensorShapeProto())
    return Summary(value=[Summary.Value(tag=REPORT, tensor=tensor, metadata=_metadata(about))])


def is_written(record: int, all_until: int, stride: int) -> bool:
    """Tell whether record number `record` is written: the first ones all, then every so many, half as often at twice as many.

    >>> [record for record in range(40) if is_written(record, 8, 2)]
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20, 24, 28, 32]
    """
    return record < all_until or record % (stride << (record // all_until).bit_length() - 1) == 0


def _site_events(trace: Trace, first: int, count: int, tag: int, begins: bool) -> Iterator[tuple[int, Summary]]:
    by_name = site_statistics(trace, first)
    values = np.stack(list(by_name.values()), axis=2).astype("<f4")  # [record, site, statistic]
    about = {"sites": [facts_of(site) for site in trace.sites], "statistics": list(by_name)}
    for i, step in enumerate(trace.steps[first:].tolist()):
        if i == 0 and begins or is_written(count + i, ALL_SITES, LATER_SITES):
            yield step, _summary(f"{SITES}{tag or ''}", DT_FLOAT, values[i], trace, about if i == 0 and begins else None)


def _unit_events(trace: Trace, first: int, count: int, tag: int, begins: bool) -> Iterator[tuple[int, Summary]]:
    names = [name for name in UNITS_SHOWN if name in trace.unit_statistics]
    if not names:
        return
    most = min(MOST_UNITS, max(LEAST_UNITS, MOST_VALUES // (len(names) * len(trace.sites))))
    kept = [sampled_units(site.units, most) for site in trace.sites]
    about = {"kept": [len(units) for units in kept], "statistics": names}
    for i, step in enumerate(trace.steps[first:].tolist()):
        if i == 0 and begins or is_written(count + i, ALL_UNITS, LATER_UNITS):
            row = [np.concatenate([trace.unit_statistics[n][s][first + i, u] for s, u in enumerate(kept)]) for n in names]
            yield (
                step,
                _summary(f"{UNITS}{tag or ''}", DT_HALF, _half(np.stack(row)), trace, about if i == 0 and begins else None),
            )


def _half(values: FloatArray) -> NDArray[np.float16]:
    """Return values in half precision: what is finite stays so, and what is not quite 0 or 1 does not become it."""
    limited = np.where(np.isfinite(values), np.clip(values, -HALF_LIMIT, HALF_LIMIT), values)
    half = limited.astype("<f2")
    half = np.where((half == 1) & (values < 1), np.nextafter(np.float16(1), np.float16(0)), half)
    return np.where((half == 0) & (values > 0), np.finfo(np.float16).smallest_subnormal, half).astype("<f2")


def _summary(tag: str, kind: int, values: NDArray[np.generic], trace: Trace, about: Mapping[str, object] | None) -> Summary:
    shape = TensorShapeProto(dim=[TensorShapeProto.Dim(size=size) for size in values.shape])
    tensor = TensorProto(dtype=kind, tensor_content=values.tobytes(), tensor_shape=shape)
    value = Summary.Value(tag=tag, tensor=tensor)
    if about is not None:
        member = {"form": FORM, "arm": trace.arm, "seed": trace.seed, "metric": trace.task.metric}
        value.metadata.CopyFrom(_metadata({**member, **about}))
    return Summary(value=[value])


def _metadata(content: Mapping[str, object]) -> SummaryMetadata:
    plugin = SummaryMetadata.PluginData(plugin_name=PLUGIN, content=json.dumps(content).encode())
    return SummaryMetadata(plugin_data=plugin, data_class=DATA_CLASS_TENSOR)
