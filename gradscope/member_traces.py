"""From a recorder's rows to one trace per member."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from gradscope.identical import identical_frac
from gradscope.merged_records import RecordColumns
from gradscope.parameter_sums import ALL, BEFORE_CLIPPING, place_of
from gradscope.recorded_site import RecordedSite
from gradscope.recorder import Recorder
from gradscope.rules.flow import DECAY
from gradscope.site_sums import COUNTS
from gradscope.trace import NETWORK_STATISTICS, UNIT_STATISTICS, Site, Task, Trace

Column = NDArray[np.float32]


@dataclass(frozen=True)
class MemberName:
    """Which arm and seed a member is."""

    arm: str
    seed: int


@dataclass
class Progress:
    """What the training loop knows beside the recorder; each array is [step or evaluation, member]."""

    loss: NDArray[np.float32]
    evaluation_steps: list[int] = field(default_factory=list)
    evaluation_metric: list[NDArray[np.float32]] = field(default_factory=list)
    evaluation_loss: list[NDArray[np.float32]] = field(default_factory=list)


def build_traces(
    recorder: Recorder,
    members: Sequence[MemberName],
    progress: Progress,
    task: Task,
    schedule: str,
    records: RecordColumns | None = None,
) -> list[Trace]:
    """Return a trace per member from all that was recorded so far; the recorder is flushed and goes on.

    Transmissions are ratios of the recorded gradient norms: 0 where none passes, NaN where none arrives.
    """
    recorder.records.flush()
    held = records or recorder.records  # those of other processes may be merged in
    return [_member_trace(recorder, held, i, member, progress, task, schedule) for i, member in enumerate(members)]


def _member_trace(
    recorder: Recorder, records: RecordColumns, i: int, member: MemberName, progress: Progress, task: Task, schedule: str
) -> Trace:
    passed = [site for site in recorder.sites.values() if site.is_known]
    found = [site for site in passed if not _row(site.host_shape().linear, i).all()]
    fed = _fed({site.key: site for site in passed}, [site.key for site in found])
    sites = tuple(_site(site, i, feeds) for site, feeds in zip(found, fed, strict=True))
    sums = [_Sums(records, site, units.units, i) for site, units in zip(found, sites, strict=True)]
    metric = [values[i] for values in progress.evaluation_metric]
    test_loss = [values[i] for values in progress.evaluation_loss]
    names = [p.name for p in recorder.parameters if i in p.rows]
    output, site_statistics = _site_statistics(records, sums, i)
    return Trace(
        arm=member.arm,
        seed=member.seed,
        sites=sites,
        parameters=tuple(names),
        steps=np.array(records.steps, np.int64),
        samples=np.array(records.samples, np.int64),
        unit_statistics={name: tuple(getattr(one, name)() for one in sums) for name in UNIT_STATISTICS},
        site_statistics=site_statistics,
        parameter_statistics=_parameter_statistics(recorder, records, i),
        output_grad_norm=output,
        loss=progress.loss[:, i],
        evaluation_steps=np.array(progress.evaluation_steps, np.int64),
        evaluation_metric=np.array(metric, np.float32),
        evaluation_loss=np.array(test_loss, np.float32),
        task=task,
        schedule=schedule,
        unseen=(*recorder.unseen, *(f"{key} (inside activation checkpointing)" for key in recorder.unrecorded)),
        notes=tuple(recorder.notes),
        network_statistics={name: records.column(("", name))[:, i] for name in NETWORK_STATISTICS},
        frozen=recorder.frozen,
        unmeasured=recorder.unmeasured,
        detached=tuple(recorder.detached),
        ungraded=recorder.ungraded,
    )


def _row(values: NDArray[np.bool_], member: int) -> NDArray[np.bool_]:
    return np.asarray(values[member if len(values) > 1 else 0])


def _fed(passed: Mapping[str, RecordedSite], found: Sequence[str]) -> list[tuple[int, ...] | None]:
    """Return the places of the sites that each one feeds, those without a non-linearity looked through.

    Of a module that is called again with what came of its first call, only the way forward counts. None where some are unknown.
    """
    if any(site.feeds is None for site in passed.values()):
        return [None] * len(found)
    place = {key: i for i, key in enumerate(found)}
    order = {key: i for i, key in enumerate(passed)}
    reached: dict[str, set[int]] = {}
    for key in reversed(list(passed)):
        ahead = [fed for fed in passed[key].feeds or () if order.get(fed, -1) > order[key]]
        reached[key] = set().union(*({place[fed]} if fed in place else reached[fed] for fed in ahead))
    return [tuple(sorted(reached[key])) for key in found]


def _site(site: RecordedSite, i: int, feeds: tuple[int, ...] | None) -> Site:
    shape, (_, number, call) = site.host_shape(), site.key.partition("#")
    name = site.labels[i if len(site.labels) > 1 else 0] + number + call
    shuts, saturates = _row(shape.shuts, i), _row(shape.saturates, i)
    return Site(name, shuts, saturates, is_output=site.is_output, wants_gradient=site.wants_gradient, feeds=feeds)


@dataclass(frozen=True)
class _Sums:
    """A site's sums in one member, and the statistics that they come to: [record, unit] each."""

    records: RecordColumns
    site: RecordedSite
    units: int
    member: int

    def of(self, name: str) -> Column:
        """Return a sum per unit."""
        return self.records.column((self.site.key, name), self.units)[:, self.member]

    def whole(self, name: str) -> Column:
        """Return a number per record."""
        return self.records.column((self.site.key, name))[:, self.member]

    @property
    def counts(self) -> Column:
        """How many values of z and of a each sum is over, [record, 2]."""
        return self.records.counts(self.site.key)

    def share(self, name: str) -> Column:
        """Return a count as a share; in records where it is the same as the one before it was not kept by itself."""
        first, *others = COUNTS[: COUNTS.index(name) + 1]
        kept = self.of(first)
        for place in others:
            if place in self.site.counted:
                own = self.of(place)
                kept = np.where(np.isnan(own), kept, own)
        return kept / self.counts[:, :1]

    def nonpositive_frac(self) -> Column:
        return self.share("nonpositive")

    def saturated_frac(self) -> Column:
        return self.share("saturated")

    def closed_frac(self) -> Column:
        return self.share("closed")

    def common_mode(self) -> Column:
        """Infinite where z does not vary, NaN for fewer than two samples."""
        first, shift, spread = (self.of(name).astype(np.float64) for name in ("first", "shift", "spread"))
        count = self.counts[:, :1].astype(np.float64)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            variance = np.maximum(spread / count - (shift / count) ** 2, 0)
            ratio = np.abs(first + shift / count) / np.sqrt(variance)
        constant = (spread == 0) | (variance == 0)
        return np.where(count < 2, np.nan, np.where(constant, np.inf, ratio)).astype(np.float32)

    def act_rms(self) -> Column:
        return (self.whole("out_norm") / np.sqrt(self.counts[:, 1] * self.units)).astype(np.float32)

    def act_common_mode(self) -> Column:
        """Infinite for a constant output."""
        with np.errstate(divide="ignore", invalid="ignore"):
            common = ((self.of("out_sum").astype(np.float64) / self.counts[:, 1:]) ** 2).sum(axis=1)
            varying = np.maximum(self.whole("out_norm").astype(np.float64) ** 2 / self.counts[:, 1] - common, 0)
            return np.where(varying == 0, np.inf, np.sqrt(common / varying)).astype(np.float32)

    def identical_frac(self) -> Column:
        """Units are told apart by z of the first sample, mean and spread of z, all three in one number."""
        first, shift, spread = (self.of(name).astype(np.float64) for name in ("first", "shift", "spread"))
        count = self.counts[:, :1].astype(np.float64)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            mean = first + shift / count
            deviation = np.sqrt(np.maximum(spread / count - (shift / count) ** 2, 0))
        return identical_frac(first, mean, deviation)

    def grad_rms(self) -> Column:
        return (self.whole("out_of_gate") / np.sqrt(self.counts[:, 0] * self.units)).astype(np.float32)


def _site_statistics(records: RecordColumns, sums: list[_Sums], i: int) -> tuple[Column, dict[str, Column]]:
    """Return the gradient norm at the network's output, [record], and the sites' statistics, [record, site] each."""
    rows = len(records)

    def stacked(per_site: list[Column]) -> Column:
        return np.stack(per_site, axis=1).astype(np.float32) if per_site else np.empty((rows, 0), np.float32)

    into_gate, out_of_gate = stacked([s.whole("into_gate") for s in sums]), stacked([s.whole("out_of_gate") for s in sums])
    output = _output_norm(records.column(("", "output_grad_norm"))[:, i], into_gate)
    arrives = np.concatenate([out_of_gate[:, 1:], output[:, None]], axis=1)[:, : len(sums)]
    return output, {
        "act_rms": stacked([s.act_rms() for s in sums]),
        "act_common_mode": stacked([s.act_common_mode() for s in sums]),
        "gate_transmission": _ratio(out_of_gate, into_gate),
        "weight_transmission": _ratio(into_gate, arrives),
        "remaining": _ratio(out_of_gate, output[:, None]),
        "grad_rms": stacked([s.grad_rms() for s in sums]),
        "identical_frac": stacked([s.identical_frac() for s in sums]),
    }


def _output_norm(measured: Column, into_gate: Column) -> Column:
    """Return the gradient norm at the network's output; where its parts are called one by one, that at the last site."""
    reached = np.isfinite(into_gate)
    if not into_gate.shape[1]:
        return measured
    last = into_gate.shape[1] - 1 - np.argmax(reached[:, ::-1], axis=1)
    at_last = into_gate[np.arange(len(into_gate)), last]
    return np.where(np.isnan(measured), at_last, measured)


def _parameter_statistics(recorder: Recorder, records: RecordColumns, i: int) -> dict[str, Column]:
    places = [place for place, p in enumerate(recorder.parameters) if i in p.rows]

    def columns(statistic: str) -> Column:
        if not places:
            return np.empty((len(records), 0), np.float32)
        alone = np.stack([records.column((place_of(place), statistic))[:, i] for place in places], axis=1)
        if recorder.has_members:
            return alone
        together = records.column((ALL, statistic), len(places))[:, 0]
        return np.where(np.isnan(together), alone, together)

    weight, signs = columns("weight_norm"), columns("nonpositive_weight_frac")
    counts = np.array([p.values[0].numel() for p in recorder.parameters if i in p.rows], np.int64)
    before = columns(BEFORE_CLIPPING)
    clipped = {} if np.isnan(before).all() else {"grad_rms_before_clipping": before / _root(counts)}
    rates = np.array(recorder.decay_rates(), np.float32)[places]
    decay = {DECAY: np.broadcast_to(rates, weight.shape).copy()} if rates.any() else {}
    return (
        clipped
        | decay
        | {
            "grad_rms": columns("grad_norm") / _root(counts),
            "grad_to_weight": _ratio(columns("grad_norm"), weight),
            "update_to_weight": _ratio(columns("update_norm"), weight),
            # not held where a parameter without a gradient was passed over: by this rules tell that from a gradient of NaN
            "nonpositive_weight_frac": np.where(np.isnan(weight), signs, _held(signs)),
        }
    )


def _held(values: Column) -> Column:
    """Return a column that is looked at in some records only, with the last value in those between."""
    known = np.where(np.isnan(values), 0, np.arange(len(values))[:, None])
    return np.take_along_axis(values, np.maximum.accumulate(known, axis=0), axis=0)


def _root(counts: NDArray[np.int64]) -> Column:
    return np.sqrt(np.maximum(counts, 1)).astype(np.float32)


def _ratio(part: Column, whole: Column) -> Column:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(whole > 0, part / whole, np.where(np.isfinite(whole) & (part > 0), np.inf, np.nan)).astype(np.float32)
