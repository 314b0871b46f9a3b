"""The recorder: looks at a training step through hooks, streams statistics into buffers on the device, leaves no mark.

Hooks stand only during the steps that the schedule names. A pre-hook reads z before an in-place activation can overwrite it;
tensor hooks on z and a read the gradients, since module backward hooks fail on in-place activations. Nothing is copied to the
host within a step; one copy is made per flush.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from gradscope import statistics
from gradscope.parameters import MemberParameter, member_parameters, update_norm, wants_copy
from gradscope.records import Records
from gradscope.schedule import Schedule
from gradscope.sites import WatchedModule, canonical, find_activations, find_unseen, probe
from gradscope.stack import Population
from gradscope.statistics import Shape

FUNCTIONS_NOT_SEEN = "activations called as functions (F.relu(x), x.relu()) are not seen, only modules (nn.ReLU)"

# Of the recorded steps, every fifth one looks at the parameters too (the first always): they are many and change slowly.
PARAMETERS_EVERY = 5


class HostShape(NamedTuple):
    """The truth values of `statistics.Shape` on the host."""

    shuts: NDArray[np.bool_]
    saturates: NDArray[np.bool_]
    linear: NDArray[np.bool_]


class Recorder:
    """Records one network, or one population, while its training loop calls the methods in turn.

    For each step: `begin(step)`, forward and backward pass, `gradients_ready()`, the optimizer's step, `step_taken()`.
    As a context manager it removes its hooks whatever happens. `recording_s` is the time spent in here, on the host.
    """

    def __init__(self, network: nn.Module, optimizer: torch.optim.Optimizer, schedule: Schedule) -> None:
        self.members = network.size if isinstance(network, Population) else 1
        self.records = Records(self.members)
        self.labels: dict[str, tuple[str, ...]] = {}  # site key -> its name in each member (or one for all)
        self.shapes: dict[str, Shape] = {}  # site key -> its non-linearity, in forward order
        self.output_site: str | None = None
        self.parameters = member_parameters(network)
        self.unseen = find_unseen(network)
        self.notes = [] if isinstance(network, Population) else [FUNCTIONS_NOT_SEEN]
        self.recording_s = 0.0
        self._network, self._optimizer, self._schedule = network, optimizer, schedule
        self._modules = find_activations(network)
        self._handles: list[RemovableHandle] = []
        self._found: dict[tuple[str, str], Tensor] = {}
        self._calls: dict[str, int] = {}
        self._copies: dict[nn.Parameter, Tensor | None] = {}  # None where the optimizer's own state tells the step
        self._open: tuple[str, Tensor] | None = None  # the last site's key and output
        self._step = self._samples = 0
        self._host_shapes: dict[str, HostShape] = {}

    def __enter__(self) -> Recorder:
        """Return the recorder itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Remove what hooks may stand, and let go of a step that was not finished."""
        self._detach()
        self._found, self._copies, self._open = {}, {}, None

    def begin(self, step: int) -> bool:
        """Attach the hooks if the schedule names this step (0-based); tell whether it does."""
        if not self._schedule(step):
            return False
        with self._timed():
            self._detach()
            self._found, self._calls, self._copies, self._step, self._samples = {}, {}, {}, step, 0
            for watched in self._modules:
                self._handles += [
                    watched.module.register_forward_pre_hook(self._before(watched)),
                    watched.module.register_forward_hook(self._after(watched)),
                ]
            self._handles.append(self._network.register_forward_hook(self._network_output))
        return True

    def gradients_ready(self) -> None:
        """Take the parameters' gradients as the optimizer will use them."""
        if not self._handles or len(self.records) % PARAMETERS_EVERY:
            return
        with self._timed(), torch.no_grad():
            for parameter in self.parameters:
                self._take_gradient(parameter)

    def step_taken(self) -> None:
        """Take the size of the optimizer's step and close the record."""
        if not self._handles:
            return
        with self._timed(), torch.no_grad():
            self._detach()
            for parameter in self.parameters:
                if parameter.parameter in self._copies:
                    moved = update_norm(parameter, self._optimizer, self._copies[parameter.parameter])
                    self._put(parameter, "update_norm", moved)
            self._copies = {}
            self.records.add(self._step, self._samples, self._found)
            self._found, self._open = {}, None

    def host_shape(self, key: str) -> HostShape:
        """Return what `trace.Site` needs of a site's non-linearity, copied to the host once: [member, unit] each."""
        if key not in self._host_shapes:
            shape = self.shapes[key]
            self._host_shapes[key] = HostShape(*(mask.cpu().numpy() for mask in (shape.shuts, shape.saturates, shape.linear)))
        return self._host_shapes[key]

    def _take_gradient(self, parameter: MemberParameter) -> None:
        gradient = parameter.gradient
        if gradient is None:
            return
        values = parameter.values
        taken = {
            "weight_norm": statistics.plain_norm(values),
            "grad_norm": statistics.plain_norm(gradient),
            "nonpositive_weight_frac": statistics.nonpositive_weight_frac(values),
        }
        for statistic, value in taken.items():
            self._put(parameter, statistic, value)
        self._copies[parameter.parameter] = values.clone() if wants_copy(self._optimizer) else None

    def _put(self, parameter: MemberParameter, statistic: str, value: Tensor) -> None:
        """Note one value per row; parameters of one name that belong to different members fill one record together."""
        spread, held = parameter.spread(value, self.members), self._found.get((parameter.name, statistic))
        self._found[parameter.name, statistic] = spread if held is None else torch.where(spread.isnan(), held, spread)

    def _before(self, watched: WatchedModule) -> Callable[[nn.Module, tuple[Any, ...]], None]:
        def hook(module: nn.Module, inputs: tuple[Any, ...]) -> None:
            z = inputs[0] if inputs else None
            if not isinstance(z, Tensor) or not z.is_floating_point() or not torch.is_grad_enabled():
                return
            with self._timed():
                key = self._key(watched)
                shape = self.shapes.get(key)
                if shape is None:
                    shape = self.shapes[key] = probe(module, z, self.members)
                    self.labels[key] = watched.labels
                with torch.no_grad():
                    self._read_site(key, module, z, shape)
                if z.requires_grad:
                    z.register_hook(self._gradient_hook(key, "grad_norm_z"))

        return hook

    def _read_site(self, key: str, module: nn.Module, z: Tensor, shape: Shape) -> None:
        before = canonical(z, self.members)
        slopes = canonical(statistics.slope(module.forward, z), self.members)
        self._found[key, "nonpositive_frac"] = statistics.nonpositive_frac(before)
        self._found[key, "saturated_frac"] = statistics.saturated_frac(slopes, shape.largest_slope)
        self._found[key, "closed_frac"] = statistics.closed_frac(slopes)
        self._found[key, "common_mode"] = statistics.common_mode(before)

    def _after(self, watched: WatchedModule) -> Callable[[nn.Module, tuple[Any, ...], Any], None]:
        def hook(module: nn.Module, inputs: tuple[Any, ...], output: object) -> None:
            key = self._key(watched)
            if not isinstance(output, Tensor) or (key, "closed_frac") not in self._found:
                return
            with self._timed():
                self._calls[watched.labels[0]] = self._calls.get(watched.labels[0], 0) + 1
                with torch.no_grad():
                    after = canonical(output, self.members)
                    self._found[key, "act_rms"] = statistics.rms(after)
                    self._found[key, "act_common_mode"] = statistics.site_common_mode(after)
                if output.requires_grad:
                    output.register_hook(self._gradient_hook(key, "grad_norm_a"))
                self._open = key, output

        return hook

    def _network_output(self, module: nn.Module, inputs: tuple[Any, ...], output: object) -> None:
        if (
            torch.is_grad_enabled() and inputs and isinstance(inputs[0], Tensor) and inputs[0].dim()
        ):  # samples, not the pixels or tokens in them
            self._samples += inputs[0].shape[-2] if isinstance(module, Population) else inputs[0].shape[0]
        if isinstance(output, Tensor) and output.requires_grad:
            if self._open is not None and output is self._open[1]:
                self.output_site = self._open[0]
            output.register_hook(self._gradient_hook("", "output_grad_norm"))

    def _gradient_hook(self, key: str, statistic: str) -> Callable[[Tensor], None]:
        def hook(gradient: Tensor) -> None:
            with self._timed(), torch.no_grad():
                per_member = gradient if self.members > 1 or gradient.shape[:1] == (1,) else gradient.unsqueeze(0)
                self._found[key, statistic] = statistics.norm(per_member)
                if statistic == "grad_norm_z":
                    self._found[key, "grad_rms"] = self._found[key, statistic] / (per_member[0].numel() ** 0.5)

        return hook

    def _key(self, watched: WatchedModule) -> str:
        """Return the key of the module's next call in this pass: a site is a call, not a module."""
        name = watched.labels[0]
        call = self._calls.get(name, 0)
        return name if call == 0 else f"{name}#{call + 1}"

    def _detach(self) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles = []

    @contextmanager
    def _timed(self) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            self.recording_s += time.perf_counter() - start
