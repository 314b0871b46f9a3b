"""The recorder: looks at training steps from the inside, streams statistics into buffers on the device, leaves no mark.

During the steps that the schedule names it sees every call of a torch function (`function_mode`), whoever makes it: modules,
functions, in place or not. A call of a non-linearity is a site (`site_recorder`). z is read before the call can overwrite it;
gradients are read by hooks in the graph of that one step. No hook is put on a module. Nothing is copied to the host within a
step; one copy is made per flush.
"""

from __future__ import annotations

import dataclasses
import functools
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn

from gradscope.activation_functions import ACTIVATIONS, Function
from gradscope.apart import Apart
from gradscope.autograd_graph import COMPILED_PART, read_graph, without_inner
from gradscope.clipping import CLIPPING_FUNCTIONS, is_clipping
from gradscope.compiled import EAGER_NOTE, SHADOW_NOTE, Calls, CompiledParts, runs_compiled_function
from gradscope.fast_paths import leave_alone, look_again
from gradscope.function_mode import FunctionMode, Handler
from gradscope.late_look import copied, nothing_changed
from gradscope.network_input import NetworkInput
from gradscope.network_parts import torch_optimizers, unwrapped
from gradscope.parameter_sums import SIGNS_EVERY, ParameterSums
from gradscope.parameters import groups_of, member_parameters
from gradscope.recorded_site import RecordedSite
from gradscope.records import Records
from gradscope.schedule import Schedule
from gradscope.site_edges import site_edges
from gradscope.site_gradients import Gradients, hook_network
from gradscope.site_recorder import SiteRecorder, StepCalls
from gradscope.stack import Population
from gradscope.stand_ins import Call, StandIns
from gradscope.step_record import StepRecord
from gradscope.timing import Timed
from gradscope.user_activations import call_module, find_user_activations
from gradscope.within_call import WithinCall

MOST_READINGS = 20  # of a graph: each new set of sites has one, sets that change with every batch do not


@dataclass
class _Step:
    """What belongs to the step that is looked at."""

    number: int
    samples: int = 0
    last_samples: int = 0  # of the last pass
    had_backward: bool = False
    tensors: list[Tensor] = field(default_factory=list)  # the network's outputs, until the backward pass begins
    outputs: list[Gradients] = field(default_factory=list)  # the gradient at the network's output, one for each pass
    clipped: bool = False
    are_gradients_taken: bool = False  # by the optimizer that is about to step
    scale: Tensor | None = None


class Recorder:
    """Records one network, or one population, while its training loop calls the methods in turn.

    For each step: `begin(step)`, forward and backward pass, `gradients_ready()`, the optimizer's step, `step_taken()`.
    As a context manager it removes its hooks whatever happens.
    """

    def __init__(
        self,
        network: nn.Module,
        optimizers: torch.optim.Optimizer | Sequence[torch.optim.Optimizer],
        schedule: Schedule,
        *,
        sites: Sequence[str] = (),
        names: Mapping[str, str] | None = None,
    ) -> None:
        """Prepare; nothing is attached yet.

        Args:
            network: what is trained, with or without wrappers around it.
            optimizers: what trains it.
            schedule: at which steps to look.
            sites: patterns of site names to record, with "!" before them to leave out; none means all.
            names: names of the user's own for modules, by path.
        """
        self.network = unwrapped(network)
        self.optimizers = torch_optimizers(optimizers)
        self.has_members = isinstance(self.network, Population)
        self.members = self.network.size if isinstance(self.network, Population) else 1
        self.records = Records(self.members)
        self.parameters = member_parameters(self.network)
        self.timed = Timed()
        self._schedule = schedule
        self._within = WithinCall()
        self._sites = SiteRecorder(
            self.network, has_members=self.has_members, sites=sites, names=names, timed=self.timed, within=self._within
        )
        self._parameter_sums = ParameterSums(self.parameters, self.members, self._left_over())
        self._input = NetworkInput(self.members, has_members=self.has_members)
        self._step: _Step | None = None
        self._readings: set[frozenset[str]] = set()
        backward: dict[Function, Handler] = dict.fromkeys((Tensor.backward, torch.autograd.backward), self._backward)
        clipping: dict[Function, Handler] = dict.fromkeys(CLIPPING_FUNCTIONS, self._clipping)
        asked: dict[Function, Handler] = {torch.autograd.grad: self._gradients_asked}
        self._mode = FunctionMode({**self._sites.handlers(), **backward, **clipping, **asked})
        self._sites.follow_with(self._mode)
        self._compiled = CompiledParts(self.network, self._mode)
        self._stand_ins = StandIns()
        self._is_attached = False
        self._thread = 0  # of the step under way
        self._own: list[nn.Module] = []  # element-wise modules of the user's

    def __enter__(self) -> Recorder:
        """Return the recorder itself."""
        self._compiled.open()
        if not self.has_members:  # a population's layers are seen as a whole
            self._own = find_user_activations(self.network)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Take off whatever may be on, and let go of a step that was not finished."""
        self._detach()
        self._compiled.close()
        self._step = self._sites.step = None
        self._parameter_sums.begin()

    @property
    def is_looking(self) -> bool:
        """Whether the step under way is one that is recorded."""
        return self._step is not None

    @property
    def recording_s(self) -> float:
        """Time spent in here, on the host."""
        return self.timed.total_s

    @property
    def sites(self) -> dict[str, RecordedSite]:
        """The sites by key, in forward order."""
        return self._sites.sites

    @property
    def unseen(self) -> dict[str, None]:
        """Names of the non-linear operations that cannot be looked into."""
        return self._sites.unseen

    @property
    def notes(self) -> dict[str, None]:
        """What else there is to say of the coverage."""
        left = [self.parameters[i].name for i in self._left_over()]  # groups may have been added
        return dict.fromkeys((*_left_over_note(left), *self._sites.unmatched())) | self._sites.notes

    def _left_over(self) -> list[int]:
        """Return the places of the parameters that no optimizer holds."""
        held = {key for optimizer in self.optimizers for key in groups_of(optimizer)}
        return [i for i, p in enumerate(self.parameters) if id(p.parameter) not in held]

    @property
    def detached(self) -> dict[str, None]:
        """Places in the network where a tensor was cut from the graph of its gradient."""
        return self._sites.cuts.detached

    @property
    def ungraded(self) -> tuple[str, ...]:
        """Names of the trainable parameters that the network runs while gradients are switched off."""
        return tuple(self._sites.cuts.ungraded)

    @property
    def frozen(self) -> tuple[str, ...]:
        """Names of the parameters that are not to be trained."""
        return () if self.has_members else tuple(n for n, p in self.network.named_parameters() if not p.requires_grad)

    @property
    def unmeasured(self) -> tuple[str, ...]:
        """Names of the parameters whose gradients are sparse."""
        return tuple(self.parameters[i].name for i in sorted(self._parameter_sums.sparse))

    @property
    def unrecorded(self) -> list[str]:
        """The sites that were passed but could not be looked at."""
        return [key for key, site in self.sites.items() if not site.is_known]

    def decay_rates(self) -> list[float]:
        """Return what weight decay alone shrinks each parameter by in a step, in units of its size."""
        return self._parameter_sums.decay_rates(self.optimizers)

    def looks_at(self, step: int) -> bool:
        """Tell whether the schedule names a step."""
        return self._schedule(step)

    def begin(self, step: int) -> bool:
        """Look from now on if the schedule names this step (0-based); tell whether it does."""
        if not self._schedule(step):
            if self._is_attached:
                self._detach()
            return False
        self._look(step)
        return True

    @property
    def can_look_late(self) -> bool:
        """Whether `look_late` may be called: nothing that it is known of is compiled."""
        return not (self.has_members or self._compiled.is_compiled or self._compiled.has_parts)

    def look_late(self, step: int, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
        """Look at a step whose passes are over: the network runs once more on what it was called with, and changes nothing.

        The optimizer's step is still to come. There are no gradients at sites; those of the parameters are the training's.
        Nothing is recorded, and False returned, where it does not run, or its output is finite this time: then the pass that
        failed was another one, or ran otherwise.
        """
        self._look(step)
        is_lost = False
        try:  # what goes wrong in looking must never reach the training
            with nothing_changed(self.network), torch.enable_grad():
                args, kwargs = copied((args, kwargs))
                output = self.network(*args, **kwargs)
                is_lost = not all(bool(tensor.detach().isfinite().all()) for tensor in _tensors(output))
        except Exception as error:
            self._sites.note_failure(error)
        if not is_lost:
            self._detach()
            self._step = self._sites.step = None
            self._parameter_sums.begin()
        return is_lost

    def _look(self, step: int) -> None:
        with self.timed:
            self._step, self._sites.step = _Step(step), StepCalls()
            self._parameter_sums.begin()
            self._input.begin()
            was_within = self._within.only
            self._thread = threading.get_ident()
            self._within.begin(len(self.records))
            if not (self._is_attached and was_within and self._within.only):
                self._detach()
                self._attach()

    def gradients_ready(self, optimizer: torch.optim.Optimizer | None = None, scale: Tensor | None = None) -> None:
        """Take the parameters' gradients as an optimizer (all of them, if none is named) will use them.

        Args:
            optimizer: the one that is about to step.
            scale: the loss scale of mixed precision, which the gradients at sites still carry.
        """
        step = self._step
        if step is None:
            return
        with self.timed, Apart():
            self._mode.turn_off()
            step.are_gradients_taken = True
            if scale is not None:
                step.scale = scale
                self._within.deny()
            looks_at_signs = len(self.records) % SIGNS_EVERY == 0
            for chosen in self.optimizers if optimizer is None else [optimizer]:
                self._parameter_sums.take_gradients(chosen, looks_at_signs=looks_at_signs)

    def step_taken(self, optimizer: torch.optim.Optimizer | None = None, *, is_last: bool = True) -> None:
        """Take the size of an optimizer's step, and close the record if it is the last one of this step."""
        step = self._step
        if step is None:
            return
        with self.timed, Apart():
            for chosen in self.optimizers if optimizer is None else [optimizer]:
                self._parameter_sums.take_updates(chosen)
            if is_last:
                if not self._within.only:  # else what stands in stays for the next step: `begin` decides
                    self._detach()
                self._close(step)
                self._step = self._sites.step = None
            else:
                step.are_gradients_taken = False
                if not self._within.only:
                    self._mode.turn_on()

    # --- the backward pass ---

    def _backward(self, function: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:  # noqa: ANN401
        calls = self._sites.step
        if calls is None or self._sites.in_backward:  # checkpointing calls backward within backward
            return function(*args, **kwargs)
        losses = args[0] if args else kwargs["tensors"]
        with self.timed:
            self._discard()
            self._read_graph(calls, losses)
        if self._step is not None:
            self._step.tensors = []
        self._sites.in_backward = True
        try:
            return function(*args, **kwargs)
        finally:
            self._sites.in_backward = False
            if self._step is not None:
                self._step.had_backward = True
            calls.numbers.clear()
            calls.nodes.clear()
            calls.accounted.clear()
            self._sites.segments.clear()
            if self._compiled.shadows:
                with self.timed:
                    self._compiled.backward()

    def _discard(self) -> None:
        """Let go of gradients that have come if they were thrown away: a step was left out as they overflowed, or an error."""
        step = self._step
        if step is not None and step.had_backward and all(p.parameter.grad is None for p in self.parameters):
            self._sites.discard_passes()
            step.outputs = [slot for slot in step.outputs if not slot.has_come]
            step.samples = step.last_samples
            self._within.deny()  # whether they were is only told for sure when the backward pass begins

    def _gradients_asked(self, function: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:  # noqa: ANN401
        """Read the graph of `torch.autograd.grad`, too, where it is not that of a penalty on gradients."""
        calls = self._sites.step
        outputs = args[0] if args else kwargs["outputs"]
        if calls is not None and not self._sites.in_backward and not kwargs.get("create_graph"):
            with self.timed:
                self._read_graph(calls, outputs)
        return function(*args, **kwargs)

    def _read_graph(self, calls: StepCalls, losses: Tensor | Iterable[Tensor]) -> None:
        """Read where the sites stand in the graph of the losses, if that is not known; a failure is noted."""
        try:
            self._read_new_graph(calls, [losses] if isinstance(losses, Tensor) else list(losses))
        except Exception as error:
            self._sites.note_failure(error)

    def _read_new_graph(self, calls: StepCalls, losses: list[Tensor]) -> None:
        keys = frozenset(calls.nodes.values())
        if keys in self._readings or len(self._readings) >= MOST_READINGS:
            return
        self._readings.add(keys)
        if not self._compiled.shadows and runs_compiled_function():
            self._sites.notes[EAGER_NOTE] = None
        shadows = self._compiled.shadows
        whole = [output for shadow in shadows if shadow.is_network for output in shadow.outputs]
        parts = [output for shadow in shadows if not shadow.is_network for output in shadow.outputs]
        known = [tensor for tensor in self._step.tensors if tensor.requires_grad] if self._step is not None else []
        reading = read_graph([*losses, *whole], parts, calls.nodes, calls.accounted, known or None)
        self._sites.unseen |= dict.fromkeys(name for name in reading.unseen if not (shadows and name.startswith(COMPILED_PART)))
        if shadows:
            self._sites.notes[SHADOW_NOTE] = None
        for key in reading.direct:
            self.sites[key].is_output = True
        ends = [tensor.grad_fn for tensor in (*losses, *whole, *parts) if tensor.grad_fn is not None]
        for key, fed in (site_edges(ends, calls.nodes) or {}).items():
            self.sites[key].feeds = (self.sites[key].feeds or set()) | fed

    def clipping_begins(self) -> None:
        """Take the gradients as they are before they are clipped, once a step; for who clips by other means than torch's."""
        step = self._step
        if step is not None and not step.clipped:
            step.clipped = True
            self._within.deny()
            with self.timed, Apart():
                self._parameter_sums.take_unclipped()

    def _clipping(self, function: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:  # noqa: ANN401
        clips = is_clipping()
        if clips:
            self.clipping_begins()
        if function in ACTIVATIONS and not clips:  # z.clamp_(min=0)
            return self._sites.activation(function, args, kwargs)
        return function(*args, **kwargs)

    # --- the network as a whole ---

    def _network_called(self, call: Call) -> Call:
        def called(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
            if not self._sees_network:
                return call(*args, **kwargs)
            if self._within.only:
                return self._call_within(call, args, kwargs)
            self._network_begins(args, kwargs)
            self._sites.in_call += 1
            try:
                output = call(*args, **kwargs)
            finally:
                self._sites.in_call -= 1
            self._network_ends(output)
            return output

        return called

    def _call_within(self, call: Call, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:  # noqa: ANN401
        """Call the network with the mode on for just as long."""
        assert self._step is not None
        with self.timed:
            calls = self._sites.step.calls.values() if self._sites.step is not None else ()
            slots = (*self._step.outputs, *(call.gradients for some in calls for call in some))  # a loss itself has none
            self._step.had_backward = any(slot.has_come for slot in slots)
            self._step.last_samples = 0  # this pass has not begun
            self._discard()
            self._network_begins(args, kwargs)
            leave_alone(self._mode)
            self._mode.turn_on()
        self._sites.in_call += 1
        try:
            output = call(*args, **kwargs)
        finally:
            self._sites.in_call -= 1
            self._mode.turn_off()
            look_again(self._mode)
        with self.timed:
            self._network_ends(output)
        return output

    def _network_begins(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        step, calls = self._step, self._sites.step
        if step is None or calls is None:
            return
        calls.numbers.clear()  # a further pass before the optimizer's step: more samples for the same sites
        inputs = (value for value in (*args, *kwargs.values()) if isinstance(value, Tensor) and value.dim())
        calls.is_called_as_a_whole = True
        first = next(inputs, None)
        if first is not None:  # samples, not the pixels or tokens in them
            step.last_samples = first.shape[-2] if self.has_members else first.shape[0]
            step.samples += step.last_samples
            self._look_at(first)
        if not self._within.only and not self._compiled.shadows and not calls.calls and runs_compiled_function():
            self._sites.notes[EAGER_NOTE] = None

    def _look_at(self, first: Tensor) -> None:
        try:  # what goes wrong in looking must never reach the training
            self._input.look(first)
        except Exception as error:
            self._sites.note_failure(error)

    def _network_ends(self, output: object) -> None:
        step = self._step
        if step is None:
            return
        found = [t for t in _tensors(output) if t.grad_fn is not None and t.dim() and t.is_floating_point()]
        for tensor in without_inner(found):
            slot = Gradients(self.has_members, self.timed)
            step.outputs.append(slot)
            if not self._within.only:  # else no graph is read
                step.tensors.append(tensor)
            hook_network(tensor, slot)

    @property
    def _sees_network(self) -> bool:
        if self._within.only:
            is_open = self._step is not None and not self._step.are_gradients_taken
            is_ours = self._thread == threading.get_ident() and torch._C._current_graph_task_id() == -1  # no recomputation
            return is_open and is_ours and torch.is_grad_enabled() and not self._sites.in_call
        recomputes = self._sites.in_backward or self._compiled.in_shadow
        return self._mode.is_on and torch.is_grad_enabled() and not recomputes and not self._sites.in_call

    def _own_activation(self, module: nn.Module, call: Call) -> Call:
        def called(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
            if not self._mode.is_on or kwargs or len(args) != 1 or not isinstance(args[0], Tensor):
                return call(*args, **kwargs)
            with self._mode.off():
                return self._sites.activation(call_module, (module, args[0]), {})

        return called

    # --- beginning and end of a step ---

    def _attach(self) -> None:
        self._is_attached = True
        calls = Calls(self._network_begins, self._network_ends, self._part_compiled)
        if self._within.only:
            self._compiled.wait(calls)
        else:
            leave_alone(self._mode)
            self._compiled.attach(calls)
            if self._compiled.has_parts:
                self._within.deny()
        if not self._compiled.is_compiled:
            for module in self._own:
                self._stand_ins.put(module, functools.partial(self._own_activation, module))
            self._stand_ins.put(self.network, self._network_called)
        if not self._within.only:
            self._mode.turn_on()

    def _part_compiled(self, part: nn.Module) -> None:
        """Leave a network alone that is being compiled: the compiler would trace what stands in for it."""
        if part is self.network:
            self._stand_ins.clear()

    def _detach(self) -> None:
        self._is_attached = False
        self._mode.turn_off()
        look_again(self._mode)
        self._stand_ins.clear()
        self._compiled.detach()

    def _close(self, step: _Step) -> None:
        self._sites.segments.clear()
        assert self._sites.step is not None
        self._within.end(was_called=self._sites.step.is_called_as_a_whole and EAGER_NOTE not in self._sites.notes)
        record = StepRecord(self._parameter_sums.found, step.scale)
        record.add_sites(self._sites.step.calls)
        record.add_gradient(("", "output_grad_norm"), [slot.into_gate for slot in step.outputs])
        record.found |= self._input.found
        # where the network is never called as a whole: the samples that its first site has seen
        self.records.add(step.number, step.samples or record.batch, record.found, record.counts)


def _left_over_note(names: list[str]) -> Iterator[str]:
    if names:
        some = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
        yield f"trainable parameters that no watched optimizer holds: {some}"


def _tensors(output: object) -> Iterator[Tensor]:
    if isinstance(output, Tensor):
        yield output
    elif isinstance(output, Mapping):
        for value in output.values():
            yield from _tensors(value)
    elif dataclasses.is_dataclass(output) and not isinstance(output, type):
        for field_ in dataclasses.fields(output):
            yield from _tensors(getattr(output, field_.name))
    elif isinstance(output, list | tuple):
        for value in output:
            yield from _tensors(value)
