"""The places in a model where modules are registered, and putting others there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from torch import nn


class Slot(NamedTuple):
    """One place: a module shared by several places has several."""

    path: str
    parent: nn.Module
    name: str
    child: nn.Module
    encoders: tuple[nn.TransformerEncoder, ...] = ()  # in which the place lies

    def put(self, module: nn.Module) -> None:
        """Put another module there."""
        self.parent._modules[self.name] = module
        if isinstance(self.parent, nn.TransformerEncoderLayer):
            self.parent.activation_relu_or_gelu = 0  # else its fused kernel would pass over what was put there
        for encoder in self.encoders:
            encoder.use_nested_tensor = False  # else it would look, in evaluation, for the weights of the modules that it knew


def slots_of(model: nn.Module) -> Iterator[Slot]:
    """Yield every place, in the order of registration."""
    modules = dict(model.named_modules())
    found = {path: module for path, module in modules.items() if isinstance(module, nn.TransformerEncoder)}
    for path, parent in modules.items():
        encoders = tuple(encoder for above, encoder in found.items() if f"{path}.".startswith(f"{above}." if above else ""))
        for name, child in list(parent._modules.items()):
            if child is not None:
                yield Slot(f"{path}.{name}".removeprefix("."), parent, name, child, encoders)


def slots_with(model: nn.Module, path: str) -> list[Slot]:
    """Return all places of the module at a path."""
    wanted = model.get_submodule(path)
    return [slot for slot in slots_of(model) if slot.child is wanted]
