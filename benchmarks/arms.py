"""What is timed against what: one network, trained by a bare loop and by loops that look at it in several ways.

Each arm has its own network and optimizer, begins with the same weights and sees the same batches, so that all arms do the
same arithmetic: after the same number of steps their weights are equal.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.tensorboard import SummaryWriter

import gradscope
import gradscope.scope as scope_module
from benchmarks.plan import Plan
from gradscope import schedule

IMAGES = 60_000  # as many as MNIST's
HISTOGRAM_INTERVAL = 10


@dataclass(frozen=True)
class Size:
    """A network of linear layers with ReLU between them, and its batch size."""

    widths: tuple[int, ...]
    batch: int

    def build(self) -> nn.Sequential:
        """Return the network with the weights that all arms begin with."""
        torch.manual_seed(0)
        layers: list[nn.Module] = []
        for i in range(len(self.widths) - 1):
            layers += [nn.Linear(self.widths[i], self.widths[i + 1]), nn.ReLU()]
        return nn.Sequential(*layers[:-1])


SIZES = {"small": Size((784, 500, 256, 10), 32), "large": Size((784, 2048, 2048, 2048, 10), 256)}


class Data:
    """Random images of MNIST's shape with random labels, made once for all arms."""

    def __init__(self, images: int = IMAGES) -> None:
        generator = torch.Generator().manual_seed(0)
        self.x = torch.rand(images, 784, generator=generator)
        self.y = torch.randint(10, (images,), generator=generator)

    def batch(self, step: int, size: int) -> tuple[Tensor, Tensor]:
        """Return views of the batch that belongs to a step, the same for every arm."""
        first = step * size % (len(self.x) - size + 1)
        return self.x[first : first + size], self.y[first : first + size]


class Bare:
    """The loop alone."""

    name: ClassVar[str] = "bare"
    what: ClassVar[str] = "the loop alone"

    def __init__(self, size: Size, data: Data, plan: Plan, folder: Path) -> None:
        self.size, self.data, self.plan, self.folder = size, data, plan, folder
        self.model = size.build()
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.01, momentum=0.5)
        self.taken = 0
        self.cleanup = ExitStack()
        self.attach()

    def run(self, steps: int) -> None:
        """Train for some steps."""
        for _ in range(steps):
            x, y = self.data.batch(self.taken, self.size.batch)
            self.optimizer.zero_grad()
            loss = functional.cross_entropy(self.model(x), y)
            loss.backward()
            self.before_update()
            self.optimizer.step()
            self.after_update(loss)
            self.taken += 1

    def attach(self) -> None:
        """Hang on the network what this arm looks with."""

    def before_update(self) -> None:
        """Look at the gradients."""

    def after_update(self, loss: Tensor) -> None:
        """Look at what remains."""

    def close(self) -> None:
        """Take off what `attach` hung on."""
        self.cleanup.close()


class BareAgain(Bare):
    """The loop alone a second time: how far its ratio is from 1 is the noise in all the others."""

    name = "bare-again"
    what = "the same once more: what is noise"


class OwnTime:
    """A clock that stands still while other arms run.

    A scope writes what it has every so many seconds: by the clock on the wall, it would here write several times too often.
    """

    def __init__(self) -> None:
        self._before, self._since = 0.0, time.perf_counter()

    def perf_counter(self) -> float:
        """Return the seconds that this clock has run."""
        return self._before + time.perf_counter() - self._since

    def stop(self) -> None:
        """Keep the time until `go`."""
        self._before = self.perf_counter()

    def go(self) -> None:
        """Be the clock of the scopes, and run on."""
        self._since = time.perf_counter()
        scope_module.time = self


class Watch(Bare):
    """gradscope.watch as users call it: a log folder, the loss logged each step, findings looked for."""

    name = "watch"
    what = "gradscope.watch, default schedule"

    def attach(self) -> None:
        """Start the scope; the folder makes it write its trace as in any training."""
        self.found: list[object] = []
        self.clock = OwnTime()
        self.cleanup.callback(setattr, scope_module, "time", time)
        self.clock.go()
        with self.schedule() as own:
            self.scope = gradscope.watch(self.model, self.optimizer, self.folder, schedule=own, on_finding=self.found.append)
        self.scope.start()
        self.cleanup.callback(self.scope.close)
        self.clock.stop()

    def run(self, steps: int) -> None:
        """Train for some steps, by this arm's own clock."""
        self.clock.go()
        super().run(steps)
        self.clock.stop()

    @contextmanager
    def schedule(self) -> Iterator[Callable[[int], bool] | None]:
        """Yield when the scope looks, None for the default, which here is that of later steps; it is asked ahead of time."""
        before = schedule.default
        schedule.default = self.plan.default
        try:
            yield None
        finally:
            schedule.default = before

    def after_update(self, loss: Tensor) -> None:
        """Log the loss."""
        self.scope.log(loss=loss)

    def close(self) -> None:
        """Close the scope, by this arm's own clock."""
        self.clock.go()
        super().close()


class WatchEvery(Watch):
    """The same, looking at each step."""

    name = "watch-every"
    what = "gradscope.watch, every step"

    @contextmanager
    def schedule(self) -> Iterator[Callable[[int], bool] | None]:
        """Yield when the scope looks."""
        yield self.plan.dense


class Items(Bare):
    """What is written by hand: each statistic of each step as a Python number."""

    name = "item-hooks"
    what = "hooks with .item(), every step"

    def attach(self) -> None:
        """Hook each activation."""
        self.kept: dict[str, list[float]] = defaultdict(list)
        for name, module in self.model.named_modules():
            if isinstance(module, nn.ReLU):
                self.cleanup.callback(module.register_forward_hook(self._hook(name)).remove)

    def _hook(self, name: str) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
        def look(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            output = output.detach()
            self.kept[f"{name}/zero"].append((output == 0).float().mean().item())
            self.kept[f"{name}/mean"].append(output.mean().item())
            self.kept[f"{name}/std"].append(output.std().item())

        return look

    def before_update(self) -> None:
        """Take the norm of each parameter's gradient."""
        for name, parameter in self.model.named_parameters():
            assert parameter.grad is not None
            self.kept[f"{name}/gradient"].append(parameter.grad.norm().item())


class Histograms(Bare):
    """TensorBoard's histograms of every parameter and its gradient."""

    name = "histograms"
    what = f"TensorBoard histograms, each {HISTOGRAM_INTERVAL}th step"

    def attach(self) -> None:
        """Open the writer."""
        self.writer = SummaryWriter(str(self.folder))
        self.cleanup.callback(self.writer.close)

    def before_update(self) -> None:
        """Write the histograms."""
        if (self.plan.position(self.taken) or 0) % HISTOGRAM_INTERVAL != HISTOGRAM_INTERVAL // 2:
            return
        for name, parameter in self.model.named_parameters():
            self.writer.add_histogram(f"{name}/weight", parameter, self.taken)
            self.writer.add_histogram(f"{name}/gradient", parameter.grad, self.taken)


ARMS: tuple[type[Bare], ...] = (Bare, BareAgain, Watch, WatchEvery, Items, Histograms)
