"""One member as the tab and the HTML report draw it: matrices, units, waterfall and curves, as packed arrays.

What it is made of comes from a trace or, in TensorBoard, from event files.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gradscope.renderers.view_arrays import WIDTH, binned, chosen_records, in_range, packed
from gradscope.renderers.view_sites import SiteFacts
from gradscope.trace import FloatArray, IntArray

GATES, WEIGHTS, LEFT = "gate_transmission", "weight_transmission", "remaining"


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
        values = binned(self.statistics[statistic][shown], wanted.width)
        columns = steps[chosen_records(len(steps), wanted.width)]
        return packed({"steps": columns, "values": values}, records=len(steps), statistic=statistic)

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
        values = binned(self.statistics[statistic][shown], wanted.width)
        columns = steps[chosen_records(len(steps), wanted.width)]
        arrays = {"steps": columns, "units": self.units, "values": values}
        return packed(arrays, records=len(steps), statistic=statistic, site=site, of=self.of)


@dataclass(frozen=True, eq=False)
class Curves:
    """Training loss, and metric and loss on the test samples; `metric_name` is empty where there is none."""

    metric_name: str
    loss_steps: IntArray
    loss: FloatArray
    metric_steps: IntArray
    metric: FloatArray
    test_loss: FloatArray

    def columns(self, wanted: Range = WHOLE, keep: Callable[[FloatArray], FloatArray] = np.asarray) -> bytes:
        """Return the curves, of both at most as many points as columns are wanted."""
        loss_steps, (loss,) = _thinned(self.loss_steps, [self.loss], wanted)
        steps, (metric, test_loss) = _thinned(self.metric_steps, [self.metric, self.test_loss], wanted)
        arrays = {"loss_steps": loss_steps, "loss": keep(loss), "metric_steps": steps}
        arrays |= {"metric": keep(metric), "test_loss": keep(test_loss)}
        return packed(arrays, records=len(self.loss), metric_name=self.metric_name)


def sampled_units(units: int, most: int) -> IntArray:
    """Return the numbers of at most `most` units of a site, evenly spread.

    >>> sampled_units(10, 4).tolist(), sampled_units(3, 4).tolist()
    ([0, 3, 6, 9], [0, 1, 2])
    """
    return np.arange(units) if units <= most else np.linspace(0, units - 1, most).round().astype(np.int64)


def _thinned(steps: IntArray, series: Sequence[FloatArray], wanted: Range) -> tuple[IntArray, list[FloatArray]]:
    shown = in_range(steps, wanted.first, wanted.last)
    columns = chosen_records(len(steps[shown]), wanted.width)
    return steps[shown][columns], [binned(values[shown, None], wanted.width)[0] for values in series]


def _rows(values: NDArray[np.floating]) -> FloatArray:
    return np.ascontiguousarray(values.T, np.float32)
