"""Where a network cuts its own graph: tensors that it detaches, and weights that it runs while gradients are switched off."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gradscope import checkpointing
from gradscope.activation_functions import Function
from gradscope.call_site import CallSites
from gradscope.timing import Timed

# Each cuts a tensor from the graph of its gradient; `Tensor.data` is a property.
_CUTS: tuple[Function, ...] = (Tensor.detach, Tensor.detach_, Tensor.data.__get__)  # type: ignore[attr-defined]
# Each takes a weight as its second argument.
_WEIGHED: tuple[Function, ...] = (F.linear, F.conv1d, F.conv2d, F.conv3d, F.embedding)


class Cuts:
    """Sees cuts through a function mode while `is_looking`; what goes wrong in it goes to `note_failure`."""

    def __init__(
        self,
        network: nn.Module,
        call_sites: CallSites,
        timed: Timed,
        *,
        is_looking: Callable[[], bool],
        note_failure: Callable[[Exception], None],
    ) -> None:
        self.detached: dict[str, None] = {}
        """Places in the network where a tensor that depends on trainable parameters is cut from their gradient."""
        self.ungraded: dict[str, None] = {}
        """Names of the trainable parameters that were run while gradients were switched off."""
        self._network, self._call_sites, self._timed = network, call_sites, timed
        self._is_looking, self._note_failure = is_looking, note_failure

    def handlers(self) -> dict[Function, Callable[..., Any]]:
        """Return what a function mode is to hand over."""
        return dict.fromkeys(_CUTS, self._cut) | dict.fromkeys(_WEIGHED, self._weighed)

    def _cut(self, function: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:  # noqa: ANN401
        cut = args[0] if args else None
        if isinstance(cut, Tensor) and self._is_looking():
            self._tried(self._note_detached, cut)
        return function(*args, **kwargs)

    def _weighed(self, function: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:  # noqa: ANN401
        if not torch.is_grad_enabled() and self._is_looking():
            self._tried(self._note_ungraded, args[1] if len(args) > 1 else kwargs.get("weight"))
        return function(*args, **kwargs)

    def _tried(self, note: Callable[[Any], None], tensor: object) -> None:
        with self._timed:
            try:  # what goes wrong in looking must never reach the training
                note(tensor)
            except Exception as error:
                self._note_failure(error)

    def _note_detached(self, cut: Tensor) -> None:
        if torch.is_grad_enabled() and cut.grad_fn is not None:
            place = self._call_sites.locate("detach")
            if place is not None and place.in_network:
                self.detached[place.name] = None

    def _note_ungraded(self, weight: object) -> None:
        if not isinstance(weight, nn.Parameter) or not weight.requires_grad or checkpointing.runs_forward():
            return  # what checkpointing runs so is run again with gradients
        name = next((name for name, own in self._network.named_parameters() if own is weight), None)
        if name is not None:
            self.ungraded[name] = None
