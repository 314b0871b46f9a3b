"""The trace: what one network's recorder wrote down, frozen, and its file.

A trace belongs to one member (one arm, one seed). It is numpy only: rules judge it and renderers draw it without torch.
The file is an npz archive without pickles, replaced in one step at every flush, so that a killed run leaves the last flush.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradscope.errors import TraceError, WriteError

MAGIC = "gradscope-trace"
VERSION = 1

FloatArray = NDArray[np.floating]
IntArray = NDArray[np.integer]

UNIT_STATISTICS = ("nonpositive_frac", "saturated_frac", "closed_frac", "common_mode")
SITE_STATISTICS = (
    "act_rms",
    "act_common_mode",
    "gate_transmission",
    "weight_transmission",
    "remaining",
    "grad_rms",
    "identical_frac",
)
SERIES = ("steps", "samples", "output_grad_norm", "loss", "evaluation_steps", "evaluation_metric", "evaluation_loss")
PARAMETER_STATISTICS = ("grad_rms", "grad_to_weight", "update_to_weight", "nonpositive_weight_frac")
NETWORK_STATISTICS = ("input_mean", "input_std")

_SITE_FIELDS = ("name", "is_output", "wants_gradient", "feeds")  # beside the masks
_LATER_NAMES = ("frozen", "unmeasured", "detached", "ungraded")  # that traces of older versions do not have


@dataclass(frozen=True, eq=False)
class Site:
    """A place where a non-linearity acts.

    `shuts` marks the units whose non-linearity has slope 0 and output 0 far below zero (relu and its kin), `saturates`
    those whose slope falls below 5 % of its largest value far out on both sides (sigmoid, tanh, ...): both read from the
    function's own values, never from its name.
    """

    name: str
    shuts: NDArray[np.bool_]  # [unit]
    saturates: NDArray[np.bool_]  # [unit]
    is_output: bool = False  # its output is the network's output
    wants_gradient: bool | None = None  # something before it is to be trained; None in traces that do not tell
    feeds: tuple[int, ...] | None = None  # the sites that its output reaches past no other; None where that is not known

    @property
    def units(self) -> int:
        """Number of units."""
        return len(self.shuts)


@dataclass(frozen=True, eq=False)
class Task:
    """What the network is asked to do, as far as judging needs it."""

    metric: str = "accuracy"  # accuracy | r2
    chance: float = float("nan")  # metric of the best constant prediction
    test_samples: int = 0
    classes: int = 0  # 0 for regression
    train_samples: int = 0
    planned_steps: int = 0


@dataclass(frozen=True, eq=False)
class Trace:
    """Statistics of one member by site and step. Arrays are float32 unless said; NaN where a value could not be had.

    A record of step s describes the forward and backward pass before update s; step 0 is the untouched initialisation.
    """

    arm: str
    seed: int
    sites: tuple[Site, ...]  # in forward order
    parameters: tuple[str, ...]
    steps: IntArray  # [record]
    samples: IntArray  # [record] samples behind each record
    unit_statistics: Mapping[str, tuple[FloatArray, ...]]  # name -> per site [record, unit]
    site_statistics: Mapping[str, FloatArray]  # name -> [record, site]
    parameter_statistics: Mapping[str, FloatArray]  # name -> [record, parameter]
    output_grad_norm: FloatArray  # [record] norm of the loss gradient at the network's output
    loss: FloatArray  # [step] training loss, of every step or, in a loop of the user's own, of those it was logged for
    evaluation_steps: IntArray  # [evaluation] number of updates before it
    evaluation_metric: FloatArray  # [evaluation]
    evaluation_loss: FloatArray  # [evaluation]
    task: Task = field(default_factory=Task)
    schedule: str = ""
    unseen: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    loss_steps: IntArray | None = None  # the steps of `loss`; None: all from 0 on
    network_statistics: Mapping[str, FloatArray] = field(default_factory=dict)  # name -> [record]; older traces have none
    frozen: tuple[str, ...] = ()  # parameters that are not to be trained (requires_grad=False)
    unmeasured: tuple[str, ...] = ()  # of `parameters`, those that have gradients of a kind without statistics (sparse)
    detached: tuple[str, ...] = ()  # places in the network where a tensor was cut from the graph of its gradient
    ungraded: tuple[str, ...] = ()  # parameters that the network runs while gradients are switched off (torch.no_grad)

    @property
    def steps_of_loss(self) -> IntArray:
        """The step of each loss."""
        return np.arange(len(self.loss)) if self.loss_steps is None else self.loss_steps

    def self_check(self) -> None:
        """Raise `TraceError` where shapes disagree or steps do not increase."""
        where = f"trace {self.arm}-{self.seed}"
        for name in SERIES:
            values = getattr(self, name)
            if values.ndim != 1 or values.dtype.kind not in "iuf":
                raise TraceError(f"{where}: {name}: expected one number per record, got {values.dtype} of shape {values.shape}")
        for site in self.sites:
            if site.shuts.ndim != 1 or site.shuts.shape != site.saturates.shape or site.shuts.dtype != bool:
                raise TraceError(f"{where}: {site.name}: expected one truth value per unit in shuts and saturates")
        records, sites = len(self.steps), len(self.sites)
        if len(self.samples) != records or len(self.output_grad_norm) != records:
            raise TraceError(f"{where}: expected {records} records everywhere, got {len(self.samples)} sample counts")
        if records > 1 and not (np.diff(self.steps) > 0).all():
            raise TraceError(f"{where}: expected increasing steps")
        for name, values in self.site_statistics.items():
            _expect_shape(where, name, values, (records, sites))
        for name, values in self.parameter_statistics.items():
            _expect_shape(where, name, values, (records, len(self.parameters)))
        for name, values in self.network_statistics.items():
            _expect_shape(where, name, values, (records,))
        for site in self.sites:
            if not all(type(i) is int and 0 <= i < sites for i in site.feeds or ()):
                raise TraceError(f"{where}: {site.name}: expected sites below {sites} that it feeds, got {site.feeds}")
        for name, per_site in self.unit_statistics.items():
            if len(per_site) != sites:
                raise TraceError(f"{where}: {name}: expected {sites} sites, got {len(per_site)}")
            for site, values in zip(self.sites, per_site, strict=True):
                _expect_shape(where, f"{name} at {site.name}", values, (records, site.units))
        if len(self.steps_of_loss) != len(self.loss):
            raise TraceError(f"{where}: loss: expected as many steps as losses")
        if not len(self.evaluation_steps) == len(self.evaluation_metric) == len(self.evaluation_loss):
            raise TraceError(f"{where}: expected as many metrics and losses as evaluations")

    def save(self, path: Path) -> None:
        """Write the trace to `path` (npz), replacing an older file in one step.

        Raises:
            WriteError: the file cannot be written; an older one is left as it was.
        """
        arrays: dict[str, Any] = _arrays(self)  # Any: for numpy's types, a name could be that of an option
        part = path.with_suffix(".npz.part")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with part.open("wb") as stream:
                np.savez_compressed(stream, **arrays)
            os.replace(part, path)
        except OSError as error:
            with contextlib.suppress(OSError):  # not even the folder may be there
                part.unlink()
            raise WriteError(f"{path}: cannot be written: {error.strerror}") from error

    @staticmethod
    def load(path: Path) -> Trace:
        """Read and check a trace file.

        Raises:
            TraceError: unreadable, not a trace, truncated, of a newer version, or inconsistent.
        """
        try:
            with path.open("rb") as stream:  # numpy leaves a damaged file open
                archive = np.load(stream, allow_pickle=False)
                if isinstance(archive, np.ndarray):
                    raise ValueError("a single array")
                data = {name: values for name in archive.files if isinstance(values := archive[name], np.ndarray)}
        except OSError as error:
            raise TraceError(f"{path}: cannot be read: {error.strerror or error}") from error
        except Exception as error:  # zipfile, zlib and numpy raise a dozen kinds for damaged bytes
            raise TraceError(f"{path}: expected a trace file (npz), got a damaged or different file") from error
        return _trace(path, data)


def _expect_shape(where: str, name: str, values: NDArray[np.generic], shape: tuple[int, ...]) -> None:
    if values.shape != shape or values.dtype.kind not in "iuf":
        raise TraceError(f"{where}: {name}: expected numbers of shape {shape}, got {values.dtype} of {values.shape}")


def _arrays(trace: Trace) -> dict[str, NDArray[np.generic]]:
    meta = {
        "magic": MAGIC,
        "version": VERSION,
        "arm": trace.arm,
        "seed": trace.seed,
        "sites": [{name: getattr(site, name) for name in _SITE_FIELDS} for site in trace.sites],
        "parameters": trace.parameters,
        "task": vars(trace.task),
        "schedule": trace.schedule,
        "unseen": trace.unseen,
        "notes": trace.notes,
        **{name: getattr(trace, name) for name in _LATER_NAMES},
    }
    arrays: dict[str, NDArray[np.generic]] = {"meta": np.array(json.dumps(meta))}
    arrays |= {name: getattr(trace, name) for name in SERIES}
    if trace.loss_steps is not None:
        arrays["loss_steps"] = trace.loss_steps
    for i, site in enumerate(trace.sites):
        arrays[f"shuts/{i}"], arrays[f"saturates/{i}"] = site.shuts, site.saturates
    for name, per_site in trace.unit_statistics.items():
        arrays |= {f"unit/{name}/{i}": values for i, values in enumerate(per_site)}
    arrays |= {f"site/{name}": values for name, values in trace.site_statistics.items()}
    arrays |= {f"parameter/{name}": values for name, values in trace.parameter_statistics.items()}
    return arrays | {f"network/{name}": values for name, values in trace.network_statistics.items()}


def _trace(path: Path, data: dict[str, NDArray[np.generic]]) -> Trace:
    try:
        meta = json.loads(str(data["meta"]))
        if meta.get("magic") != MAGIC:
            raise TraceError(f"{path}: expected a gradscope trace, got an npz file of something else")
        if meta["version"] > VERSION:
            raise TraceError(
                f"{path}: written in trace version {meta['version']}, this gradscope reads up to {VERSION}; update gradscope"
            )
        trace = Trace(
            arm=meta["arm"],
            seed=meta["seed"],
            sites=tuple(
                _site(s, data[f"shuts/{i}"], data[f"saturates/{i}"])  # type: ignore[arg-type]
                for i, s in enumerate(meta["sites"])
            ),
            parameters=tuple(meta["parameters"]),
            unit_statistics={
                name: tuple(data[f"unit/{name}/{i}"] for i in range(len(meta["sites"])))  # type: ignore[misc]
                for name in (_names(data, "unit/") if meta["sites"] else UNIT_STATISTICS)
            },
            site_statistics={name: data[f"site/{name}"] for name in _names(data, "site/")},  # type: ignore[misc]
            parameter_statistics={name: data[f"parameter/{name}"] for name in _names(data, "parameter/")},  # type: ignore[misc]
            task=Task(**meta["task"]),
            schedule=meta["schedule"],
            unseen=tuple(meta["unseen"]),
            notes=tuple(meta["notes"]),
            loss_steps=data.get("loss_steps"),  # type: ignore[arg-type]
            network_statistics={name: data[f"network/{name}"] for name in _names(data, "network/")},  # type: ignore[misc]
            frozen=tuple(meta.get("frozen", ())),
            unmeasured=tuple(meta.get("unmeasured", ())),
            detached=tuple(meta.get("detached", ())),
            ungraded=tuple(meta.get("ungraded", ())),
            **{
                name: data[name]  # type: ignore[arg-type]
                for name in SERIES
            },
        )
        trace.self_check()
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        if isinstance(error, TraceError):
            raise
        text = " ".join(str(error).split())[:200]
        raise TraceError(f"{path}: expected a gradscope trace, got a file with an unfit or missing part: {text}") from error
    return trace


def _site(meta: Mapping[str, Any], shuts: NDArray[np.bool_], saturates: NDArray[np.bool_]) -> Site:
    feeds = meta.get("feeds")
    return Site(
        meta["name"],
        shuts,
        saturates,
        meta["is_output"],
        wants_gradient=meta.get("wants_gradient"),
        feeds=None if feeds is None else tuple(feeds),
    )


def _names(data: Mapping[str, object], prefix: str) -> list[str]:
    return list(dict.fromkeys(key.split("/")[1] for key in data if key.startswith(prefix)))
