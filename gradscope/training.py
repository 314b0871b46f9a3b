"""The only training loop: one network or one population, on tensors that lie on the device."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from gradscope.cell import Precision
from gradscope.data import Data
from gradscope.direct_pass import direct_pass
from gradscope.errors import CodeError
from gradscope.fused_update import LinearUpdate, linear_updates
from gradscope.learning_rate import set_learning_rate, warmed_up
from gradscope.member_clipping import clip_members
from gradscope.member_traces import MemberName, Progress, build_traces
from gradscope.objective import Score, losses
from gradscope.recipe import Training
from gradscope.recorder import Recorder
from gradscope.schedule import Schedule, default
from gradscope.stack import Population
from gradscope.trace import Task, Trace
from gradscope.user_code import running_user_code

FIRST_FLUSH_S, FLUSH_S = 2.0, 10.0  # soon enough to be of use after a kill, seldom enough to cost nothing
TEST_BATCH = 1000  # samples per evaluation step: bounds the memory of a large population


@dataclass(frozen=True)
class Watching:
    """Who looks on while a network trains, and may end it. The defaults look at nothing."""

    schedule: Schedule = default
    schedule_name: str = "default"
    flush: Callable[[Sequence[Trace]], None] | None = None  # given the traces so far every now and then, and at the end
    advance: Callable[[int], None] = lambda steps: None
    evaluated: Callable[[int, nn.Module], None] = lambda steps, network: None  # before the first step and after each epoch
    should_stop: Callable[[], bool] = lambda: False


@dataclass(frozen=True)
class Begin:
    """Where a training begins. Before another step than 0 the network and the optimizer are given the state of that step."""

    step: int = 0  # the batches of the steps before are passed over
    ready: Callable[[torch.optim.Optimizer], None] = lambda optimizer: None  # called before the first step


@dataclass
class Trained:
    """What came of it: a trace per member, seconds, and how far it got."""

    traces: list[Trace] = field(default_factory=list)
    steps: int = 0
    train_s: float = 0.0  # with recording, without writing
    recording_s: float = 0.0
    writing_s: float = 0.0  # spent in `Watching.flush`
    interrupted: bool = False


def steps_per_epoch(samples: int, batch_size: int) -> int:
    """Return the number of batches; a last batch of a single sample is left out, since batch-norm has no variance there.

    >>> steps_per_epoch(97, 32), steps_per_epoch(98, 32), steps_per_epoch(3, 1)
    (3, 4, 3)
    """
    whole, rest = divmod(samples, batch_size)
    return whole + (rest > 1 or (rest == 1 and whole == 0))


def task_of(data: Data, training: Training, steps: int | None = None) -> Task:
    """Return what judging needs to know of data and training."""
    planned = training.epochs * steps_per_epoch(len(data.x_train), training.batch_size)
    return Task(
        metric=data.metric,
        chance=data.chance,
        test_samples=len(data.y_test),
        classes=data.classes,
        train_samples=len(data.x_train),
        planned_steps=min(planned, steps) if steps else planned,
    )


def train(
    network: nn.Module,
    members: Sequence[MemberName],
    data: Data,
    training: Training,
    task: Task,
    watching: Watching | None = None,
    precision: Precision = "float32",
    begin: Begin | None = None,
) -> Trained:
    """Train, evaluate after every epoch, and record on the schedule.

    Members of one seed see the same batches in the same order. The task's planned steps end the training.

    Args:
        network: a population with one member per name, or any module for a single name.
        members: arm and seed of each.
        data: on the network's device; flattened for a population.
        training: optimizer, loss, batch size.
        task: see `task_of`.
        watching: schedule and callbacks.
        precision: of the networks' products; with bf16 they run under `torch.autocast`, weights and optimizer stay float32.
        begin: default: at step 0, with the network as it is and a new optimizer.

    Raises:
        CodeError: a network of the user's own fails or returns another shape than [batch, outputs].
    """
    watching = watching or Watching()
    loop = _Loop(network, members, data, training, task, watching, precision, begin or Begin())
    return loop.run()


def unwatched_step(
    network: nn.Module, members: Sequence[MemberName], data: Data, training: Training, steps: int
) -> Callable[[Tensor], None]:
    """Return the training step itself, for who times it: warm-up, gradients, clipping, update, and no recording.

    It goes through autograd: a network that is trained elsewhere would, whatever gradscope knows to save.

    Args:
        network: see `train`, as the next three.
        members: likewise.
        data: likewise.
        training: likewise.
        steps: how often the step will be called at most, each time with the indices of a batch, [member, batch].
    """
    task = Task(chance=data.chance, planned_steps=steps)
    loop = _Loop(network, members, data, training, task, Watching(lambda step: False), "float32", Begin())
    loop.direct = None
    network.train()
    return loop._step


def make_optimizer(network: nn.Module, training: Training) -> torch.optim.Optimizer:
    """Return the recipe's optimizer, in torch's fused form where the device has one."""
    parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
    lr, decay = training.lr, training.weight_decay
    fused = all(p.device.type in ("cpu", "cuda") and p.is_floating_point() for p in parameters)
    if training.optimizer == "sgd":
        return torch.optim.SGD(parameters, lr, momentum=training.momentum, weight_decay=decay, fused=fused)
    if training.optimizer == "rmsprop":
        return torch.optim.RMSprop(parameters, lr, momentum=training.momentum, weight_decay=decay)
    kind = torch.optim.AdamW if training.optimizer == "adamw" else torch.optim.Adam
    return kind(parameters, lr, weight_decay=decay, fused=fused)


class BatchOrder:
    """The order of the samples: a new permutation per epoch, drawn from each seed on its own."""

    def __init__(self, seeds: Sequence[int], samples: int, batch_size: int, device: torch.device) -> None:
        self._unique = sorted(set(seeds))
        self._rows = torch.tensor([self._unique.index(seed) for seed in seeds], device=device)
        self._draws = [torch.Generator().manual_seed(seed) for seed in self._unique]
        self._samples, self._size, self._device = samples, batch_size, device

    def epoch(self) -> Iterator[Tensor]:
        """Yield the indices of each batch of the next epoch, [member, batch]."""
        orders = torch.stack([torch.randperm(self._samples, generator=draw) for draw in self._draws])
        members = orders.to(self._device)[self._rows]
        for batch in range(steps_per_epoch(self._samples, self._size)):
            yield members[:, batch * self._size : (batch + 1) * self._size]


def rows(table: Tensor, indices: Tensor) -> Tensor:
    """Return `table[indices]`, copied by whole rows, which is faster on a CPU."""
    return table.index_select(0, indices.reshape(-1)).view(*indices.shape, *table.shape[1:])


class _Loop:
    def __init__(
        self,
        network: nn.Module,
        members: Sequence[MemberName],
        data: Data,
        training: Training,
        task: Task,
        watching: Watching,
        precision: Precision,
        begin: Begin,
    ) -> None:
        self.network, self.members, self.data, self.training = network, members, data, training
        self.task, self.watching = task, watching
        self.is_population = isinstance(network, Population)
        self.runs_user_code = network.has_user_code if isinstance(network, Population) else True
        self.optimizer = make_optimizer(network, training)
        begin.ready(self.optimizer)
        self.order = BatchOrder([m.seed for m in members], len(data.x_train), training.batch_size, data.x_train.device)
        self.loss = torch.zeros(task.planned_steps, len(members), device=data.x_train.device)
        self.progress = Progress(loss=np.empty((0, len(members)), np.float32))
        self.recorder = Recorder(network, self.optimizer, watching.schedule)
        self.result = Trained(steps=begin.step)
        self.passed_over = begin.step
        self.has_one_order = len({member.seed for member in members}) == 1
        self.precision = precision
        self.updates, self.has_other_parameters = _updates(network, self.optimizer, precision, training)
        self.direct = direct_pass(network, self.updates, training.loss)
        self.warmup_steps = round(training.warmup * training.epochs * steps_per_epoch(len(data.x_train), training.batch_size))
        self._flushed_at = 0.0

    def run(self) -> Trained:
        start = time.perf_counter()
        self._flushed_at = start + FIRST_FLUSH_S - FLUSH_S
        with self.recorder, torch.random.fork_rng(_cuda_devices(self.data.x_train)):
            torch.manual_seed(self.members[0].seed)  # for what draws in training: dropout, rrelu; members share the stream
            self._evaluate()
            while self.result.steps < self.task.planned_steps and not self.result.interrupted:
                self._epoch()
                self._evaluate()
        self._flush()
        self.result.train_s = time.perf_counter() - start - self.result.writing_s
        self.result.recording_s += self.recorder.recording_s
        return self.result

    def _epoch(self) -> None:
        self.network.train()
        for indices in self.order.epoch():
            if self.passed_over:
                self.passed_over -= 1
                continue
            if self.result.steps >= self.task.planned_steps or self.result.interrupted:
                return
            self._step(indices)
            self.watching.advance(1)
            self.result.interrupted = self.watching.should_stop()
            if self.watching.flush and time.perf_counter() - self._flushed_at > FLUSH_S:
                self._flush()

    def _step(self, indices: Tensor) -> None:
        step = self.result.steps
        if step < self.warmup_steps:
            set_learning_rate(self.optimizer, self.updates, warmed_up(self.training.lr, step, self.warmup_steps))
        is_recorded = self.recorder.begin(step)
        x, y = rows(self.data.x_train, indices[0] if self.has_one_order else indices), rows(self.data.y_train, indices)
        if self.direct and not is_recorded:
            self.loss[step] = self.direct.step(x, y)
        else:
            self.loss[step] = self._graph_step(x, y, is_recorded)
        self.result.steps += 1

    def _graph_step(self, x: Tensor, y: Tensor, is_recorded: bool) -> Tensor:
        """Return each member's loss; the step by autograd."""
        recorder = self.recorder
        for update in self.updates:
            update.waits = is_recorded
        output = self._output(x, self.updates)
        with self._guarded("failed in the training step"):
            member_losses = losses(self.training.loss, output, y)
            if self.has_other_parameters:
                self.optimizer.zero_grad()
            member_losses.backward(torch.ones_like(member_losses))  # members share no parameter: each its own loss's gradient
            self._clip()
            recorder.gradients_ready()
            if is_recorded:
                for update in self.updates:
                    update.take_held()
            if self.has_other_parameters:
                self.optimizer.step()
            recorder.step_taken()
        return member_losses.detach()

    def _clip(self) -> None:
        """Scale gradients down that are longer than the recipe allows, each network's by itself; updates leave them to us."""
        max_norm = self.training.max_norm
        if max_norm is None:
            return
        if isinstance(self.network, Population):
            self.recorder.clipping_begins()
            clip_members(self.network.parameters_with_members(), self.network.size, max_norm)
        else:
            nn.utils.clip_grad_norm_(self.network.parameters(), max_norm)

    def _guarded(self, what: str) -> AbstractContextManager[None]:
        """Guard a block in which code of the user's own runs; faults of gradscope's own keep their traceback."""
        if not self.runs_user_code:
            return nullcontext()
        return running_user_code(f"{'an activation' if self.is_population else 'model'}: {what}")

    def _output(self, x: Tensor, updates: Sequence[LinearUpdate] = ()) -> Tensor:
        """Return [member, batch, output]; `x` is [member, batch, ...] or shared for a population, [batch, ...] for a model."""
        with self._guarded(f"failed on a batch of shape {list(x.shape)}"), _products(self.precision, x.device):
            output = self.network(x, updates) if updates else self.network(x)
        if self.precision != "float32" and isinstance(output, Tensor):
            output = output.float()
        if self.is_population:
            return output  # type: ignore[no-any-return]
        wanted = [len(x), self.data.outputs]
        if not isinstance(output, Tensor) or list(output.shape) != wanted:
            got = list(output.shape) if isinstance(output, Tensor) else type(output).__name__
            raise CodeError(f"model: expected an output of shape {wanted} (batch, outputs of {self.data.name}), got {got}")
        return output.unsqueeze(0)

    @torch.no_grad()
    def _evaluate(self) -> None:
        self.network.eval()
        score = Score(self.training.loss, self.data)
        for x, y in zip(torch.split(self.data.x_test, TEST_BATCH), torch.split(self.data.y_test, TEST_BATCH), strict=True):
            output = self._output(x)
            score.add(output, y.expand(len(output), *y.shape))
        metric, loss = score.result()
        self.progress.evaluation_steps.append(self.result.steps)
        self.progress.evaluation_metric.append(metric.float().cpu().numpy())
        self.progress.evaluation_loss.append(loss.float().cpu().numpy())
        self.watching.evaluated(self.result.steps, self.network)

    def _flush(self) -> None:
        start = time.perf_counter()
        self.progress.loss = self.loss[: self.result.steps].float().cpu().numpy()
        self.result.traces = build_traces(self.recorder, self.members, self.progress, self.task, self.watching.schedule_name)
        built = time.perf_counter()
        if self.watching.flush:
            self.watching.flush(self.result.traces)
        self._flushed_at = time.perf_counter()
        self.result.recording_s += built - start
        self.result.writing_s += self._flushed_at - built


def _updates(
    network: nn.Module, optimizer: torch.optim.Optimizer, precision: Precision, training: Training
) -> tuple[list[LinearUpdate], bool]:
    """Return the updates that a population's linear layers take by themselves, and whether the optimizer has others to take.

    Gradients that are to be clipped wait for the norm over all layers: none is taken on the way there.
    """
    is_plain = isinstance(network, Population) and precision == "float32" and training.max_norm is None
    layers = network.linear_parameters() if isinstance(network, Population) and is_plain else []
    updates = linear_updates(layers, optimizer)
    return updates, len(list(network.parameters())) > 2 * len(updates)


def _products(precision: Precision, device: torch.device) -> AbstractContextManager[object]:
    return nullcontext() if precision == "float32" else torch.autocast(device.type, torch.bfloat16)


def _cuda_devices(tensor: Tensor) -> list[int]:
    return [tensor.get_device()] if tensor.is_cuda else []
