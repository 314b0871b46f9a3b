"""Which axis of a site's tensor runs over its units, and the tensor laid out by it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

# Operations behind which the units are known: channels stand at axis 1, features last.
_CHANNELS = ("Convolution", "BatchNorm", "GroupNorm", "InstanceNorm", "Pool", "Upsample")
_FEATURES = ("Addmm", "Mm", "Bmm", "Baddbmm", "Addmv", "Linear", "LayerNorm", "RmsNorm", "Rnn", "Lstm", "Gru", "Embedding")
_VIEWS = ("View", "UnsafeView", "ReshapeAlias", "Reshape")
_SCATTERED = ("AsStrided", "Unfold")  # what becomes of the axes is not known
_MOST_NODES = 16  # further back the tensor has little to do with what made it

_Size = tuple[int, ...]
_Order = list[int | None]  # which axis of the tensor at a node each axis of z is; None: of several, or of none


def unit_axis(z: Tensor) -> int:
    """Return the axis of z that runs over units: channels behind a convolution, features behind a linear or recurrent layer.

    Read from the operations that made z, as far as autograd kept them: axes are followed that were permuted, squeezed, or
    kept by a view. Otherwise the channel axis of images and volumes (four axes and more) and the last axis of everything else.
    """
    if z.dim() <= 1:
        return 0
    found = _produced(z)
    if found is not None:
        return found
    return 1 if z.dim() >= 4 else z.dim() - 1


def _produced(z: Tensor) -> int | None:
    """Return where the units of what made z stand in z; of several operands those that are no parameters are followed."""
    ways: list[tuple[Any, _Size, _Order]] = []  # the one to follow first is the last
    if z.grad_fn is not None:
        ways.append((z.grad_fn, tuple(z.shape), [*range(z.dim())]))
    for _ in range(_MOST_NODES):
        if not ways:
            return None
        node, size, order = ways.pop()
        kind = node.name().partition("Backward")[0]
        units = _units_behind(node, kind, len(size))
        if units is not None:
            if units in order:
                return order.index(units)
            continue
        operands = [(child, _size_of(child, number)) for child, number in node.next_functions[::-1] if not _is_leaf(child)]
        operands.sort(key=lambda operand: operand[1] == size)  # one that is spread over the other may be a scale
        for child, before in operands:
            moved = _moved(node, kind, order, before, size)
            if moved is not None:
                ways.append((child, before, moved))
    return None


def _units_behind(node: Any, kind: str, axes: int) -> int | None:  # noqa: ANN401  a node's saved values have no type
    if any(name in kind for name in _CHANNELS):
        return 1
    if any(name in kind for name in _FEATURES):
        return axes - 1 if len(getattr(node, "_saved_normalized_shape", " ")) == 1 else None  # a norm over whole images
    return None


def _is_leaf(node: Any) -> bool:  # noqa: ANN401
    return node is None or not node.next_functions


def _size_of(node: Any, number: int) -> _Size:  # noqa: ANN401
    """Return the size of a node's output."""
    outputs = getattr(node, "_input_metadata", ())  # the inputs of its backward
    return tuple(outputs[number].shape) if number < len(outputs) else ()


def _moved(node: Any, kind: str, order: _Order, before: _Size, after: _Size) -> _Order | None:  # noqa: ANN401
    """Return the order in front of a node that made a tensor of size `after` of one of size `before`, None if unknown."""
    axes = len(before)
    if not axes or kind in _SCATTERED:
        return None
    came_from: Sequence[int | None] | None = None  # by axis behind the node, the axis in front of it
    if kind == "Permute":
        came_from = [_signed(dim, axes) for dim in node._saved_dims]
    elif kind == "Transpose":
        first, second = _signed(node._saved_dim0, axes), _signed(node._saved_dim1, axes)
        swap = {first: second, second: first}
        came_from = [swap.get(axis, axis) for axis in range(axes)]
    elif kind == "T":
        came_from = [*range(axes)][::-1]
    elif kind in _VIEWS:
        came_from = _viewed(before, after)
    elif kind in ("Unsqueeze", "Stack"):
        new = _signed(node._saved_dim, len(after))
        came_from = [*range(new), None, *range(new, axes)]
    elif kind == "Expand":
        came_from = [None] * (len(after) - axes) + [*range(axes)]
    elif len(after) < axes:
        came_from = _left(node, kind, before)
    elif len(after) == axes:
        return order
    if came_from is None or len(came_from) != len(after):
        return None
    return [None if axis is None else came_from[axis] for axis in order]


def _left(node: Any, kind: str, before: _Size) -> list[int]:  # noqa: ANN401
    """Return the axes that a squeeze, a selection or a reduction has left, one after the other."""
    dims = getattr(node, "_saved_dim", range(len(before)))
    gone = {_signed(dim, len(before)) for dim in ([dims] if isinstance(dims, int) else dims)}
    if kind == "Squeeze":
        gone = {axis for axis in gone if before[axis] == 1}
    return [axis for axis in range(len(before)) if axis not in gone]


def _viewed(before: _Size, after: _Size) -> _Order | None:
    """Return by axis behind a view the axis in front of it: those that it keeps, and the last part of those that it splits.

    Features of rows that are split are an image's channels, rows and columns; two parts may be channels and times, or times
    and features. Merged axes are not followed.
    """
    if 0 in before:
        return None
    found: _Order = [None] * len(after)
    i = j = 0
    while i < len(after) and j < len(before):
        start, first, behind, ahead = i, j, after[i], before[j]
        i, j = i + 1, j + 1
        while behind != ahead:
            if behind < ahead:
                behind, i = behind * after[i], i + 1
            else:
                ahead, j = ahead * before[j], j + 1
        parts = [axis for axis in range(start, i) if after[axis] != 1] or [i - 1]
        wholes = [axis for axis in range(first, j) if before[axis] != 1] or [j - 1]
        if len(wholes) == 1:
            if len(parts) == 1 or wholes != [1] or len(before) != 2:
                found[parts[-1]] = wholes[0]
            elif i - start > 2:
                found[start] = wholes[0]
    return found


def _signed(dim: int, axes: int) -> int:
    """Return an axis as a number from 0; autograd keeps a negative one as a huge unsigned one."""
    return (dim - 2**64 if dim >= 2**63 else dim) % axes


def laid_out(values: Tensor, axis: int, *, has_members: bool) -> Tensor:
    """Return a site's tensor as rows, [sample, unit], or [member, outer, unit, inner]; a view where its memory allows it.

    Rows where the units lie next to each other in memory, the fast case. Else samples are outer and inner together: what
    stands before and behind the unit axis. A population's tensors are [member, batch, unit] already.
    """
    if has_members:
        return values.unsqueeze(-1)
    if values.dim() <= 1:  # one unit's samples
        return values.reshape(-1, 1)
    if axis == values.dim() - 1:
        return values if values.dim() == 2 else values.reshape(-1, values.shape[-1])
    last = values.movedim(axis, -1)
    if last.is_contiguous():  # images with their channels last
        return last.reshape(-1, last.shape[-1])
    return values.reshape(1, values.shape[:axis].numel(), values.shape[axis], -1)


def units_of(laid: Tensor) -> int:
    """Return the number of units of a laid out tensor."""
    return laid.shape[1 if laid.dim() == 2 else 2]
