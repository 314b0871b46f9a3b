"""Records the calls of non-linearities of one network, step by step."""

from __future__ import annotations

import fnmatch
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from gradscope import checkpointing
from gradscope.activation_functions import ACTIVATIONS, OPAQUE, Function, pre_activation
from gradscope.apart import Apart
from gradscope.autograd_graph import Node, between, is_of_parameters
from gradscope.call_site import CallSites, Place
from gradscope.cuts import Cuts
from gradscope.function_mode import FunctionMode
from gradscope.gates import Gate
from gradscope.recorded_site import RecordedSite, SiteCall
from gradscope.site_gates import COMPOSITES, call_key, gate_of_call
from gradscope.site_gradients import Gradients, hook_before, hook_output
from gradscope.site_sums import add_output, sums_before
from gradscope.timing import Timed
from gradscope.transforms import is_transformed, unwrapped, without_transforms
from gradscope.unit_activation import UnitActivation
from gradscope.unit_axis import laid_out, unit_axis
from gradscope.user_activations import call_module
from gradscope.within_call import WithinCall

# Calls of one place within a pass that are sites of their own: a cell unrolled over hundreds of steps is no deep network.
MOST_CALLS = 64


@dataclass
class StepCalls:
    """What the sites have seen in the step that is looked at."""

    numbers: dict[str, int] = field(default_factory=dict)  # calls of each place in this pass
    calls: dict[str, list[SiteCall]] = field(default_factory=dict)  # by site, one for each pass
    nodes: dict[Node, str] = field(default_factory=dict)  # what made each site's output
    accounted: set[Node] = field(default_factory=set)  # operations within calls that are known
    is_called_as_a_whole: bool = False  # the network, and not only parts of it


class SiteRecorder:
    """Sees calls through a function mode; `step` is None where no step is looked at."""

    def __init__(
        self,
        network: nn.Module,
        *,
        has_members: bool,
        sites: Sequence[str],
        names: Mapping[str, str] | None,
        timed: Timed,
        within: WithinCall,
    ) -> None:
        self.has_members = has_members
        self.sites: dict[str, RecordedSite] = {}  # in forward order
        self.unseen: dict[str, None] = {}
        self.notes: dict[str, None] = {}
        self.step: StepCalls | None = None
        self.in_backward = False
        self.in_call = 0  # of the network
        self.within = within
        self.segments = checkpointing.Segments()
        self._call_sites = CallSites(network, names)
        self.cuts = Cuts(network, self._call_sites, timed, is_looking=self._is_looking, note_failure=self.note_failure)
        self._patterns = tuple(sites)
        self._wanted: dict[str, bool] = {}
        self._timed = timed

    def handlers(self) -> dict[Function, Callable[..., Any]]:
        """Return what a function mode is to hand over."""
        activations = dict.fromkeys((*ACTIVATIONS, *COMPOSITES), self.activation)
        return self.cuts.handlers() | dict.fromkeys(OPAQUE, self._opaque) | activations

    def follow_with(self, mode: FunctionMode) -> None:
        """Name the mode that is to see what checkpointing runs again."""
        self._mode = mode

    def _is_looking(self) -> bool:
        return self.step is not None and self.in_call > 0 and not self.in_backward

    def activation(self, function: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:  # noqa: ANN401
        """Call an element-wise function, and record the call."""
        z = args[1] if function in COMPOSITES else pre_activation(args, kwargs)
        step, call = self.step, None
        if not self.in_call:
            self.within.deny()
        if step is not None and z is not None and z.is_floating_point() and z.numel():
            with self._timed:
                try:  # what goes wrong in looking must never reach the training
                    call = self._begins(step, function, args, kwargs, z)
                except Exception as error:
                    self.note_failure(error)
        output = function(*args, **kwargs)
        if step is not None:
            with self._timed:
                try:
                    self._ends(step, call, output)
                except Exception as error:
                    self.note_failure(error)
        return output

    def discard_passes(self) -> None:
        """Let go of the passes whose gradients have come: they were thrown away before a step was made with them."""
        if self.step is not None:
            for key, calls in self.step.calls.items():
                self.step.calls[key] = [call for call in calls if not call.gradients.has_come]

    def note_failure(self, error: Exception) -> None:
        """Say in the coverage that part of a step is missing."""
        text = " ".join(str(error).split())[:120]
        self.notes[f"part of a step could not be recorded: {type(error).__name__}: {text}"] = None

    # --- a call ---

    def _begins(
        self, step: StepCalls, function: Function, args: tuple[Any, ...], kwargs: dict[str, Any], z: Tensor
    ) -> SiteCall | None:
        site = self._site_of(step, function, args, z)
        if site is None:
            return None
        with Apart(z):
            plain = without_transforms(z)
            key = call_key(function, args, kwargs), z.dtype, plain.dim()
            if site.gate is None or key[0] is None or key != site.gate_key:
                site.axis = 2 if function is UnitActivation.forward else unit_axis(plain)
                find = functools.partial(gate_of_call, function, args, kwargs, plain, site.axis)
                site.gate = _in_a_thread(find) if is_transformed(z) else find()
                site.gate_key = key
            laid = laid_out(plain, site.axis, has_members=self.has_members)
            if not site.is_known:
                site.shape = site.gate.shape(laid, plain)
            sums = sums_before(laid, site.gate, plain)
        site.wants_gradient = site.wants_gradient or z.requires_grad or plain.requires_grad
        batch = plain.shape[1 if self.has_members else 0] if plain.dim() else 1
        made_z = (
            z.grad_fn if z.grad_fn is not None else unwrapped(z).grad_fn
        )  # vmap's tensors have no graph, what they stand for has
        call = SiteCall(site, sums, Gradients(self.has_members, self._timed), batch, z, made_z)
        if function in COMPOSITES and z.requires_grad:
            hook_before(z, call.gradients)
        return call

    def _ends(self, step: StepCalls, call: SiteCall | None, output: object) -> None:
        if not isinstance(output, Tensor):
            return
        if call is None or call.z is None or output.shape != call.z.shape:
            if output.grad_fn is not None:  # known, if only as what is no site of this network
                step.accounted.add(output.grad_fn)
            return
        z, made_z = call.z, call.made_z
        call.z = call.made_z = None
        plain = without_transforms(output)
        with Apart(output):
            add_output(call.sums, laid_out(plain, call.site.axis, has_members=self.has_members))
        step.calls.setdefault(call.site.key, []).append(call)
        seen, before = (output, z) if output.grad_fn is not None else (unwrapped(output), unwrapped(z))
        if seen.grad_fn is None:
            return
        both = hook_output(seen, before, made_z, call.gradients)
        if not both and not call.gradients.hooked_before and before.requires_grad and before is not seen:
            hook_before(before, call.gradients)
        elif not both and before is seen and seen.grad_fn is not made_z:  # and no identity
            self.notes[f"{call.site.key}: works in place on a part of a tensor; its gradients are not seen"] = None
        if self.within.only:  # no graph is read
            return
        step.nodes[seen.grad_fn] = call.site.key
        if not both:
            step.accounted |= between([seen], [before])

    # --- which site a call is ---

    def _site_of(self, step: StepCalls, function: Function, args: tuple[Any, ...], z: Tensor) -> RecordedSite | None:
        name = ACTIVATIONS.get(function, "activation")
        if not torch.is_grad_enabled():
            if checkpointing.runs_forward():
                self._reserve(step, name)
            return None
        if is_of_parameters(z):  # a weight that is computed from another one
            return None
        if self.in_backward:
            reserved = self.segments.next_key()
            return None if reserved is None else self.sites[reserved]
        place = self._place(name, function, args)
        if place is None or not self._is_wanted(place.name):
            return None
        if not place.in_network and step.is_called_as_a_whole:
            self.notes[f"{place.name}: called behind the network's output, taken for a part of the loss, not recorded"] = None
            return None
        if not (z.requires_grad or without_transforms(z).requires_grad or (place.in_network and name != "clamp")):
            return None
        key = self._key(step, place.name)
        if key is None:
            return None
        site = self.sites.get(key)
        if site is None:
            labels = args[0].site_labels if function is UnitActivation.forward else (place.name,)
            site = self.sites[key] = RecordedSite(key, labels)
        return site

    def _place(self, name: str, function: Function, args: tuple[Any, ...]) -> Place | None:
        if function is UnitActivation.forward:
            path = self._call_sites.path(args[0])
            return None if path is None else Place(args[0].site_labels[0], path, "", True)
        if function is call_module:
            return self._call_sites.of_module(args[0])
        return self._call_sites.locate(name)

    def _key(self, step: StepCalls, label: str) -> str | None:
        number = step.numbers[label] = step.numbers.get(label, 0) + 1
        if number > MOST_CALLS:
            self.notes[f"{label}: calls after the first {MOST_CALLS} of a pass are not recorded"] = None
            return None
        return label if number == 1 else f"{label}#{number}"

    def _reserve(self, step: StepCalls, name: str) -> None:
        """Note that a site was passed whose recording will come with the recomputation, in the backward pass."""
        self.within.deny()
        if self.in_backward:  # a part within a part that is run again
            key = self.segments.next_key()
            if key is not None:
                self.segments.reserve(key, self._mode.follow)
            return
        place = self._call_sites.locate(name)
        if place is None or not place.in_network or not self._is_wanted(place.name):
            return
        key = self._key(step, place.name)
        if key is not None and not self.within.only:  # else what is run again would not be seen
            self.sites.setdefault(key, RecordedSite(key, (place.name,)))
            self.segments.reserve(key, self._mode.follow)

    def _is_wanted(self, label: str) -> bool:
        found = self._wanted.get(label)
        if found is None:
            left_out = [pattern[1:] for pattern in self._patterns if pattern.startswith("!")]
            chosen = [pattern for pattern in self._patterns if not pattern.startswith("!")] or ["*"]
            matches = functools.partial(fnmatch.fnmatchcase, label)
            found = self._wanted[label] = any(map(matches, chosen)) and not any(map(matches, left_out))
        return found

    def unmatched(self) -> Iterator[str]:
        """Yield what there is to say of patterns that leave nothing to look at."""
        if self._wanted and not any(self._wanted.values()):
            some = ", ".join(list(self._wanted)[:5])
            yield f"sites: {', '.join(map(repr, self._patterns))} chose none of the sites passed, {some}"

    # --- what cannot be looked into ---

    def _opaque(self, function: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:  # noqa: ANN401
        output = function(*args, **kwargs)
        if not self.in_call:
            self.within.deny()
        if self.step is not None and torch.is_grad_enabled() and not self.in_backward:
            with self._timed:
                try:
                    self._note_opaque(self.step, function, args, output)
                except Exception as error:
                    self.note_failure(error)
        return output

    def _note_opaque(self, step: StepCalls, function: Function, args: tuple[Any, ...], output: object) -> None:
        outputs = [t for t in (output if isinstance(output, tuple) else (output,)) if isinstance(t, Tensor)]
        if not any(t.requires_grad for t in outputs):
            return
        name = OPAQUE[function]
        place = self._call_sites.locate(name)
        if place is not None and place.in_network:
            self.unseen[place.opaque(name)] = None
            step.accounted |= between(outputs, [t for t in args if isinstance(t, Tensor)])


def _in_a_thread(find: Callable[[], Gate]) -> Gate:
    """Return what is found where no transform of torch.func is at work: those are a thread's own."""
    with ThreadPoolExecutor(max_workers=1) as threads:
        return threads.submit(find).result()
