"""One member as the tab and the HTML report draw it: matrices, units, waterfall and curves, as packed arrays.

What it is made of comes from a trace or, in TensorBoard, from event files.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gradscope.renderers.view_arrays import WIDTH, binned, chosen_records, in_range, packed, rare_rows
from gradscope.renderers.view_sites import SiteFacts
from gradscope.trace import FloatArray, IntArray

GATES, WEIGHTS, LEFT = FLOW = "gate_transmission", "weight_transmission", "remaining"


@dataclass(frozen=True)
class Range:
    """The columns that are asked for: at most so many, from one step to another, both included."""

    width: int = WIDTH
    first: int | None = None
    last: int | None = None


WHOLE = Range()


@dataclass(frozen=True, eq=False)
class MemberRecords:
    """The statistics of a member's sites: each [record, site]."""

    sites: Sequence[SiteFacts]  # in forward order
    steps: IntArray
    statistics: Mapping[str, FloatArray]

    def matrix(self, statistic: str, wanted: Range = WHOLE) -> bytes:
        """Return one statistic, [site, column]."""
        shown = in_range(self.steps, wanted.first, wanted.last)
        steps = self.steps[shown]
        whole = self.statistics[statistic][shown]
        arrays = {"steps": steps[chosen_records(len(steps), wanted.width)], "values": binned(whole, wanted.width)}
        return packed(arrays, records=len(steps), rare=rare_rows(whole), statistic=statistic)

    def waterfall(self, wanted: Range = WHOLE, keep: Callable[[FloatArray], FloatArray] = np.asarray) -> bytes:
        """Return what each stage lets through and what is left behind it, [stage, column]; `keep` rounds."""
        from gradscope.waterfall import Flow  # with pydantic behind it: when it is asked for, not when a tab is loaded

        shown = in_range(self.steps, wanted.first, wanted.last)
        records = np.arange(shown.start, shown.stop)[chosen_records(shown.stop - shown.start, wanted.width)]
        flow = Flow(
            sites=tuple(site["name"] for site in self.sites),
            ends_in_output=bool(self.sites) and self.sites[-1]["is_output"],
            gates=self.statistics[GATES][records],
            weights=self.statistics[WEIGHTS][records],
            measured=self.statistics[LEFT][records] if LEFT in self.statistics else None,
        )
        kinds = {True: "weight", False: "gate"}
        stages = [{"name": name, "kind": kinds[is_weight], "site": site} for name, is_weight, site in flow.stages]
        arrays = {"transmission": keep(_rows(flow.transmissions())), "remaining": keep(_rows(flow.remaining()))}
        return packed({"steps": self.steps[records], **arrays}, records=shown.stop - shown.start, stages=stages)

    @property
    def has_waterfall(self) -> bool:
        """Whether what the waterfall is made of was recorded."""
        return GATES in self.statistics and WEIGHTS in self.statistics


@dataclass(frozen=True, eq=False)
class UnitRecords:
    """The histories of the units of one site, of a wide one an even sample: each [record, unit]."""

    of: int  # units that the site has
    units: IntArray  # the numbers of those that are here
    steps: IntArray
    statistics: Mapping[str, FloatArray]

    def columns(self, site: int, statistic: str, wanted: Range = WHOLE) -> bytes:
        """Return one statistic, [unit, column]."""
        shown = in_range(self.steps, wanted.first, wanted.last)
        steps = self.steps[shown]
        whole = self.statistics[statistic][shown]
        columns = steps[chosen_records(len(steps), wanted.width)]
        arrays = {"steps": columns, "units": self.units, "values": binned(whole, wanted.width)}
        return packed(arrays, records=len(steps), rare=rare_rows(whole), statistic=statistic, site=site, of=self.of)


@dataclass(frozen=True, eq=False)
class Curves:
    """Training loss, and metric and loss on the test samples; `metric_name` is empty where there is none.

    `recorded` are the steps at which maps have columns: what held there is kept, however few points are wanted.
    """

    metric_name: str
    loss_steps: IntArray
    loss: FloatArray
    metric_steps: IntArray
    metric: FloatArray
    test_loss: FloatArray
    recorded: IntArray

    def columns(self, wanted: Range = WHOLE, keep: Callable[[FloatArray], FloatArray] = np.asarray) -> bytes:
        """Return the curves: of both about as many points as columns are wanted, and the last one before them."""
        losses = _thinned(self.loss_steps, self.loss, wanted, self.recorded)
        metrics = _thinned(self.metric_steps, self.metric, wanted, self.recorded)
        arrays = {"loss_steps": self.loss_steps[losses], "loss": keep(self.loss[losses])}
        arrays |= {"metric_steps": self.metric_steps[metrics], "metric": keep(self.metric[metrics])}
        arrays["test_loss"] = keep(self.test_loss[metrics])
        return packed(arrays, records=len(self.loss), metric_name=self.metric_name)


def sampled_units(units: int, most: int) -> IntArray:
    """Return the numbers of at most `most` units of a site, evenly spread.

    >>> sampled_units(10, 4).tolist(), sampled_units(3, 4).tolist()
    ([0, 3, 6, 9], [0, 1, 2])
    """
    return np.arange(units) if units <= most else np.linspace(0, units - 1, most).round().astype(np.int64)


def _thinned(steps: IntArray, values: FloatArray, wanted: Range, always: IntArray) -> IntArray:
    """Return the places of the points to show: the first of each bin, the first in it that is not finite, and the last of all.

    Also what was told last at each of the steps `always`, and at the first step of the range: one point before it.
    """
    shown = in_range(steps, wanted.first, wanted.last)
    places = np.arange(max(shown.start - 1, 0), shown.stop)
    bins = np.array_split(places, max(1, min(wanted.width, len(places))))
    odd = ~np.isfinite(values)
    first_odd = [part[odd[part]][:1] for part in bins]
    chosen = chosen_records(len(places), wanted.width)
    kept = np.intersect1d(places, np.searchsorted(steps, always, side="right") - 1)
    return np.unique(np.concatenate([places[chosen], kept, *first_odd]))


def _rows(values: NDArray[np.floating]) -> FloatArray:
    return np.ascontiguousarray(values.T, np.float32)
