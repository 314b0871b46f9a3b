"""Where non-linearities act in a network, and what they look like."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from gradscope.elementwise import Elementwise, module_classes
from gradscope.statistics import Shape, probe_grid, shape_of, slope
from gradscope.unit_activation import UnitActivation

# Non-linear modules whose insides are no element-wise activation that could be watched.
OPAQUE = (nn.RNNBase, nn.RNNCellBase, nn.MultiheadAttention, nn.GLU)


@dataclass(frozen=True)
class WatchedModule:
    """An activation module and the name that its calls are reported under, one per member or one for all."""

    module: nn.Module
    labels: tuple[str, ...]


def find_activations(network: nn.Module) -> list[WatchedModule]:
    """Return the activation modules of a network in the order of their registration.

    In a population the name is layer and activation (`3.relu`); elsewhere the module's path, with the class added where
    the path does not say it.
    """
    found = []
    for path, module in _outermost(network):
        if isinstance(module, UnitActivation):
            layer = int(re.findall(r"\d+", path)[0]) + 1
            found.append(WatchedModule(module, tuple(f"{layer}.{label}" for label in module.labels)))
        elif isinstance(module, (*module_classes(), Elementwise)):
            found.append(WatchedModule(module, (_name(path, module),)))
    return found


def find_unseen(network: nn.Module) -> list[str]:
    """Return the modules that act non-linearly inside, where no hook can look."""
    return [f"{path} ({type(module).__name__})" for path, module in _outermost(network) if isinstance(module, OPAQUE)]


def _outermost(network: nn.Module, path: str = "", seen: set[nn.Module] | None = None) -> Iterator[tuple[str, nn.Module]]:
    seen = set() if seen is None else seen
    if network in seen:  # shared between blocks: hooked once, its calls are told apart by number
        return
    seen.add(network)
    yield path, network
    if isinstance(network, (UnitActivation, nn.MultiheadAttention)):
        return
    for name, child in network.named_children():
        yield from _outermost(child, f"{path}.{name}" if path else name, seen)


def _name(path: str, module: nn.Module) -> str:
    kind = type(module).__name__.lower()
    last = path.rpartition(".")[2].lower()
    return path if path and (kind in last or last in kind) and not last.isdigit() else f"{path}.{kind}".lstrip(".")


def canonical(values: Tensor, members: int) -> Float[Tensor, "member sample unit"]:
    """Return a site's tensor as [member, sample, unit].

    A population's tensors stand so already. Elsewhere the unit axis is the channel axis of images and volumes (four axes and
    more) and the last axis of everything else; all other axes are samples. A vector holds one unit's samples.
    """
    if members > 1 or values.dim() == 3 and values.shape[0] == 1:
        return values
    if values.dim() >= 4:
        values = values.movedim(1, -1)
    return values.reshape(1, -1, values.shape[-1] if values.dim() > 1 else 1)


def probe(module: nn.Module, z: Tensor, members: int) -> Shape:
    """Return the shape of a site's non-linearity, unit by unit, found by trying it on a grid of values."""
    grid = probe_grid(z)
    batch_axis = 1 if members > 1 or isinstance(module, UnitActivation) else 0
    sizes = [1 if _is_position(axis, z, module, members) else size for axis, size in enumerate(z.shape)] or [1]
    sizes[batch_axis] = len(grid)
    view = [1] * len(sizes)
    view[batch_axis] = len(grid)
    points = grid.view(view).expand(sizes)
    with torch.no_grad(), torch.random.fork_rng([z.get_device()] if z.is_cuda else []):
        outputs = module.forward(points.clone())
    slopes = slope(module.forward, points)
    return shape_of(canonical(outputs, members), canonical(slopes, members))


def _is_position(axis: int, z: Tensor, module: nn.Module, members: int) -> bool:
    """Tell whether an axis holds pixels or times, at which a non-linearity is the same: one of them is enough to probe."""
    if z.dim() >= 4:
        return axis > 1
    is_population = members > 1 or isinstance(module, UnitActivation)
    return z.dim() == 3 and axis == 1 and not is_population and not any(True for _ in module.parameters())
