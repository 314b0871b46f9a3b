"""Lightning: a callback that watches a fit from its first step until it ends, however it ends.

The scope takes steps and gradients from the optimizers themselves: unscaled, before clipping, of the whole step where batches
are accumulated, in automatic and in manual optimization.
"""
# ruff: noqa: ANN401, D102  Lightning's types are at hand only where it is installed; its hooks are described there

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from gradscope.integrations import WatchingCallback, class_of

# One library under two names, whose classes are not each other's.
Callback: Any = class_of("Callback", "lightning.pytorch", "pytorch_lightning", extra="lightning")


class GradscopeCallback(WatchingCallback, Callback):  # type: ignore[misc]
    """Watches each fit; takes the options of `gradscope.watch`.

    The loss of each optimizer step (the mean over its batches) and the metrics that stand after a validation are logged.
    """

    _losses: list[Tensor]  # of the batches since the last step
    _logged_step: int

    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:  # `setup` is too early: there are no optimizers
        self._losses, self._logged_step = [], 0
        wrapped = trainer.strategy.model  # over several processes: their records are merged then
        model = wrapped if isinstance(wrapped, DistributedDataParallel) else pl_module
        self._start(model, trainer.optimizers, writes=trainer.is_global_zero)

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        loss = outputs.get("loss") if isinstance(outputs, Mapping) else outputs
        if isinstance(loss, Tensor):
            self._losses.append(loss.detach().mean() * trainer.accumulate_grad_batches)  # Lightning has divided by it
        if self._losses and self.scope.step > self._logged_step:
            self.scope.log(loss=torch.stack(self._losses).mean())
            self._losses, self._logged_step = [], self.scope.step

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        if trainer.state.fn == "fit" and self.scope.step:  # there is a sanity check before the first step
            self.scope.log(**{name: value for name, value in trainer.callback_metrics.items() if name != "loss"})

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        self._end(exception)

    def teardown(self, trainer: Any, pl_module: Any, stage: str) -> None:
        self.close()
