"""Weights of linear and convolutional layers drawn anew."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from gradscope.errors import FixError
from gradscope.initial_weights import seeded
from gradscope.surgery.applied import Change, Replacement
from gradscope.surgery.calls import Example, calls_of, run

Layer = nn.Linear | nn.modules.conv._ConvNd

INITS: Mapping[str, Callable[[Tensor], object]] = {
    "he-init": lambda weight: nn.init.kaiming_normal_(weight, nonlinearity="relu"),
    "xavier-init": nn.init.xavier_uniform_,
    "lsuv-init": nn.init.orthogonal_,
}
LINES: Mapping[str, str] = {
    "he-init": "nn.init.kaiming_normal_(module.weight, nonlinearity='relu')",
    "xavier-init": "nn.init.xavier_uniform_(module.weight)",
    "lsuv-init": "nn.init.orthogonal_(module.weight)  # then, layer by layer: module.weight /= std of its outputs on a batch",
}


@torch.no_grad()
def draw_weights(model: nn.Module, fix: str, example: Example, seed: int) -> Change:
    """Draw every weight anew, set biases to 0; norms, embeddings and attention's inner weights stay as they are.

    Raises:
        FixError: there is nothing to draw, or lsuv-init has no example to scale on.
    """
    layers = dict(_layers(model))
    if not layers:
        raise FixError(f"{fix}: expected a model with linear or convolutional layers, got none")
    if fix == "lsuv-init" and example is None:
        raise FixError(f"{fix}: expected samples on which to measure the layers' outputs, got none; add example=x")
    before = {path: _deviation(layer) for path, layer in layers.items()}
    with seeded(seed):
        for layer in layers.values():
            host = torch.empty(layer.weight.shape, dtype=torch.float32)  # the same weights on every device
            INITS[fix](host)
            layer.weight.copy_(host)
            if layer.bias is not None:
                layer.bias.zero_()
    if fix == "lsuv-init":
        _scale(model, fix, example, layers)
    replaced = [Replacement(path, f"weights of std {before[path]}", f"std {_deviation(layers[path])}") for path in layers]
    hint = "for module in model.modules():\n    if isinstance(module, (nn.Linear, nn.Conv2d)):\n        " + LINES[fix]
    return Change(tuple(replaced), hint=hint + "\n        if module.bias is not None:\n            nn.init.zeros_(module.bias)")


def _layers(model: nn.Module) -> Iterator[tuple[str, Layer]]:
    """Yield layers with a weight of their own, each once; weights that are computed from others are not drawn."""
    seen: set[int] = set()
    for path, module in model.named_modules():
        is_inner = isinstance(model.get_submodule(path.rpartition(".")[0]), nn.MultiheadAttention) if path else False
        if isinstance(module, Layer) and not is_inner and not parametrize.is_parametrized(module):
            weight = module.weight
            if isinstance(weight, nn.Parameter) and id(weight) not in seen:
                seen.add(id(weight))
                yield path, module


def _deviation(layer: Layer) -> str:
    return f"{float(layer.weight.float().std(correction=0)):.3g}"


def _scale(model: nn.Module, fix: str, example: Example, layers: Mapping[str, Layer]) -> None:
    """Scale each layer's weights, in the order of the calls, so that its outputs have variance 1.

    Batch-norms are passed with the example's own statistics, as in training: those of a trained model are of the old weights.
    """
    scout = copy.deepcopy(model).eval()
    for module in scout.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.train()
    order = dict.fromkeys(call.path for call in calls_of(model, fix, example) if call.kind == "linear")
    for path in order:
        if path not in layers:
            continue
        layer = scout.get_submodule(path)
        std = _outputs_std(scout, layer, fix, example)
        if 0 < std < float("inf"):
            for weight in (layer.weight, layers[path].weight):
                assert isinstance(weight, Tensor)
                weight /= std


def _outputs_std(model: nn.Module, layer: nn.Module, fix: str, example: Example) -> float:
    """Return the standard deviation of a layer's outputs at its first call."""
    found: list[float] = []

    def look(module: nn.Module, args: object, output: Tensor) -> None:
        found.append(float(output.double().std(correction=0)))

    handle = layer.register_forward_hook(look)
    run(model, fix, example)
    handle.remove()
    return found[0]
