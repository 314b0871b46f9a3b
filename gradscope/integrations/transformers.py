"""Transformers: a callback that watches the training of a `Trainer`.

The scope takes steps and gradients from the optimizer itself: before clipping, of the whole step where batches are accumulated.
"""
# ruff: noqa: ANN401, D102  Transformers' types are at hand only where it is installed; its hooks are described there

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gradscope.integrations import WatchingCallback, class_of

TrainerCallback: Any = class_of("TrainerCallback", "transformers", extra="transformers")


class GradscopeCallback(WatchingCallback, TrainerCallback):  # type: ignore[misc]
    """Watches each training; takes the options of `gradscope.watch`.

    What the trainer logs of the loss (its mean over `logging_steps`; 1 gives each) and of evaluations is logged. The trainer
    tells no callback that training raised: `with GradscopeCallback() as watching:` around it closes the scope then, too.
    """

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._start(kwargs["model"], kwargs["optimizer"], writes=state.is_world_process_zero)

    def on_log(self, args: Any, state: Any, control: Any, logs: Mapping[str, Any] | None = None, **kwargs: Any) -> None:
        wanted = {name: value for name, value in (logs or {}).items() if name == "loss" or name.startswith("eval_")}
        if wanted and self.scope is not None and self.scope.step:
            self.scope.log(**wanted)

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.close()
