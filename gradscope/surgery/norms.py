"""Norms put between linear or convolutional layers and what follows them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from torch import Tensor, nn

from gradscope.errors import FixError
from gradscope.surgery.activations import count_of
from gradscope.surgery.applied import Change, Replacement, described, in_code
from gradscope.surgery.calls import Call, Example, calls_of
from gradscope.surgery.slots import Slot, slots_with


class FeatureBatchNorm(nn.BatchNorm1d):
    """Batch-norm over the last axis of a tensor with any number of axes before it, which all count as samples.

    Of [sample, feature] it is `nn.BatchNorm1d` itself, which takes the second of three axes for the features.
    """

    def forward(self, z: Tensor) -> Tensor:
        """Return z normalised."""
        return super().forward(z.reshape(-1, z.shape[-1])).view(z.shape)


class _Norms(NamedTuple):
    is_batchnorm: bool
    is_last_only: bool


NORMS: Mapping[str, _Norms] = {
    "batchnorm-last": _Norms(True, True),
    "batchnorm-all": _Norms(True, False),
    "layernorm-all": _Norms(False, False),
}


def insert_norms(model: nn.Module, fix: str, example: Example) -> Change:
    """Put a norm behind the last linear layer that is called, or behind each that an activation follows straight away.

    Before an activation that is a module of its own, it goes there, and the names of the weights stay what they are; before
    one that is a function or shared, and where none follows, behind the linear layer. What has a norm already is left alone, as
    is a layer of one output, of which layer-norm would make a constant.

    Raises:
        FixError: there is no place for one.
    """
    calls = calls_of(model, fix, example)
    followed = {call.source: call for call in calls if call.kind == "activation" and call.source}
    wanted = _wanted(calls, fix, followed)
    normed = [call for call in wanted if NORMS[fix].is_batchnorm or not _has_one_output(model, call)]
    if not normed:
        raise FixError(f"{fix}: expected layers of two outputs or more, got {wanted[0].path} with one: it would be a constant")
    places = {call: _place(model, calls, call, followed.get(call.path)) for call in normed}
    left = tuple(f"{call.path}, which is called several times" for call, slot in places.items() if slot is None)
    lines: list[str] = []
    replaced = [_insert(model, fix, call, slot, lines) for call, slot in places.items() if slot is not None]
    if not replaced:
        raise FixError(f"{fix}: expected layers that are called once, got {left[0]}; one norm cannot serve several calls")
    left += tuple(f"{call.path}, whose one output would be a constant" for call in wanted if call not in normed)
    return Change(tuple(replaced), left, "\n".join(lines))


def _has_one_output(model: nn.Module, call: Call) -> bool:
    """Tell of a linear layer; a convolution's one channel is normed over its places."""
    linear = model.get_submodule(call.path)
    return isinstance(linear, nn.Linear) and linear.out_features == 1


def _wanted(calls: list[Call], fix: str, followed: Mapping[str, Call]) -> list[Call]:
    """Return the linear layers that a norm is to follow, each once.

    Raises:
        FixError: there are none.
    """
    linear = list({call.path: call for call in calls if call.kind == "linear"}.values())
    if not linear or not linear[0].path:
        raise FixError(f"{fix}: expected a model with linear or convolutional layers that it calls, got none")
    normed = {call.source for call in calls if call.kind == "norm"}
    last_only = NORMS[fix].is_last_only
    wanted = linear[-1:] if last_only else [call for call in linear if call.path in followed]
    free = [call for call in wanted if call.path not in normed]
    if not free:
        what = "a last layer without a norm" if last_only else "layers that an activation follows straight away"
        raise FixError(f"{fix}: expected {what}, got none: norms or other things stand between")
    return free


def _place(model: nn.Module, calls: list[Call], linear: Call, activation: Call | None) -> Slot | None:
    """Return where the norm goes: to the activation, or to the linear layer; None where that is called several times."""
    if count_of(calls, linear) > 1:
        return None
    for call in (activation, linear):
        if call is not None and call.path and not call.is_function and count_of(calls, call) == 1:
            slots = slots_with(model, call.path)
            if len(slots) == 1:
                return slots[0]
    return None


def _insert(model: nn.Module, fix: str, call: Call, slot: Slot, lines: list[str]) -> Replacement:
    linear = model.get_submodule(call.path)
    norm = _norm_for(linear, call.axes, is_batchnorm=NORMS[fix].is_batchnorm)
    weight = linear.weight
    assert isinstance(weight, Tensor)
    norm.to(weight.device, weight.dtype).train(linear.training)
    is_behind = slot.child is linear
    pair = (linear, norm) if is_behind else (norm, slot.child)
    new = nn.Sequential(*pair).train(slot.child.training)
    slot.put(new)
    kind = "gradscope.surgery.norms." if isinstance(norm, FeatureBatchNorm) else "nn."
    here, made = in_code(slot.path), f"{kind}{described(norm)}"
    lines.append(f"{here} = nn.Sequential({f'{here}, {made}' if is_behind else f'{made}, {here}'})")
    return Replacement(slot.path, described(slot.child), described(new))


def _norm_for(linear: nn.Module, axes: int, *, is_batchnorm: bool) -> nn.Module:
    if isinstance(linear, nn.Linear):
        if not is_batchnorm:
            return nn.LayerNorm(linear.out_features)
        return (nn.BatchNorm1d if axes == 2 else FeatureBatchNorm)(linear.out_features)
    assert isinstance(linear, nn.modules.conv._ConvNd)
    if not is_batchnorm:
        return nn.GroupNorm(1, linear.out_channels)  # layer-norm over channels and places
    return (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)[len(linear.kernel_size) - 1](linear.out_channels)
