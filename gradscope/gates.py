"""Gates: which pre-activations a non-linearity lets nothing, or next to nothing, through. Read from its own slope.

A function of z with plain numbers as options is flat or shut on a few intervals. Their ends are searched for once, on the
CPU, to the last bit; counting samples is then a comparison. Anything else (a learnable slope, a random one, code of the
user's own) is differentiated where the samples are.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple, final

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from torch import Tensor

from gradscope.activation_functions import Function
from gradscope.statistics import SATURATED_SLOPE, Shape, probe_grid, shape_of, slope, wide
from gradscope.unit_axis import laid_out, units_of

# Densely where slopes change, then ever more widely out to where sigmoids and exponentials under- and overflow.
_NEAR, _FAR, _FAR_POINTS = np.linspace(-12, 12, 4801), 1e5, 400
MOST_INTERVALS = 4  # more comparisons than this cost more than differentiating
_BISECTIONS = 60  # halves the distance of two grid points to neighbouring float64

# Where a function is tried that takes points in the place of all samples only.
_ENDS, _BETWEEN = 50.0, (-4.0, -1.0, -0.1, 0.1, 1.0, 4.0)

Interval = tuple[float, float]  # closed on both sides; infinite where there is no end


class Counted(NamedTuple):
    """Masks of 0 and 1, shaped like z: None where no sample can be, the same tensor where both are the same."""

    saturated: Tensor | None
    closed: Tensor | None


class Gate(ABC):
    """What is known of a non-linearity, and how to tell of each sample on which side it stands."""

    @abstractmethod
    def shape(self, z: Tensor, raw: Tensor) -> Shape:
        """Return largest slope and kind per unit, [member, unit]; `z` is laid out, `raw` the same as the network has it."""

    @abstractmethod
    def count(self, z: Tensor, nonpositive: Tensor, raw: Tensor) -> Counted:
        """Return the masks; `nonpositive` is that of z <= 0, which is often the same."""


@final
@dataclass(frozen=True)
class IntervalGate(Gate):
    """A function of z alone, flat (slope below 5 % of the largest) and shut (slope 0) on known intervals."""

    saturated: tuple[Interval, ...]
    closed: tuple[Interval, ...]
    largest_slope: float
    shuts: bool
    saturates: bool
    linear: bool

    def shape(self, z: Tensor, raw: Tensor) -> Shape:
        """Return the same for every unit."""
        units = units_of(z)

        def filled(value: bool) -> Bool[Tensor, "1 unit"]:
            return torch.full((1, units), value, dtype=torch.bool, device=z.device)

        largest = torch.full((1, units), self.largest_slope, device=z.device)
        return Shape(largest, filled(self.shuts), filled(self.saturates), filled(self.linear))

    def count(self, z: Tensor, nonpositive: Tensor, raw: Tensor) -> Counted:
        """Return the masks."""
        saturated = _inside(self.saturated, z, nonpositive)
        closed = saturated if self.closed == self.saturated else _inside(self.closed, z, nonpositive)
        return Counted(saturated, closed)


@final
class SlopeGate(Gate):
    """Any element-wise function: differentiated at the samples; its kind is read off a grid once."""

    def __init__(self, function: Callable[[Tensor], Tensor], axis: int, *, has_members: bool) -> None:
        """Take the function of z as the network calls it, and z's unit axis; it keeps z's shape and may work in place."""
        self.function, self.axis, self.has_members = function, axis, has_members
        self._shape: Shape | None = None

    def shape(self, z: Tensor, raw: Tensor) -> Shape:
        """Return what the function looks like in each unit; it is tried on a grid in the place of the samples."""
        if self._shape is None:
            self._shape = self._shape_on_grid(raw) or self._shape_at_samples(raw)
        return self._shape

    def _shape_on_grid(self, raw: Tensor) -> Shape | None:
        """Return the shape, None where the function has an option for each sample, or each pixel, and takes no other points."""
        grid = probe_grid(raw)
        batch = 1 if self.has_members else 0
        kept = {0, 2} if self.has_members else {1, self.axis}  # a learnable slope has one value per entry of axis 1
        sizes = [size if axis in kept else 1 for axis, size in enumerate(raw.shape)] or [1]
        sizes[batch] = len(grid)
        points = grid.view([-1 if axis == batch else 1 for axis in range(len(sizes))]).expand(sizes)
        try:
            outputs = self._outputs(points)
        except RuntimeError:
            return None
        if outputs.shape != points.shape:
            return None
        return shape_of(self._rows(outputs), self._rows(slope(self.function, points)))

    def _shape_at_samples(self, raw: Tensor) -> Shape:
        """Return what holds of every sample, from the samples themselves and a few points in the place of all of them."""
        low, high = (torch.full_like(raw, far) for far in (-_ENDS, _ENDS))
        between = [torch.full_like(raw, point) for point in _BETWEEN]
        slopes = [self._rows(slope(self.function, points)) for points in (low, high, raw, *between)]
        everywhere = torch.cat(slopes, dim=1)
        largest = everywhere.abs().amax(dim=1)
        ends = torch.cat(slopes[:2], dim=1)
        return Shape(
            largest_slope=largest,
            shuts=((slopes[0] == 0) & (self._rows(self._outputs(low)) == 0)).all(dim=1),
            saturates=(ends.abs() < SATURATED_SLOPE * largest.unsqueeze(1)).all(dim=1),
            linear=(everywhere.amin(dim=1) == everywhere.amax(dim=1)) & (largest > 0),
        )

    def _outputs(self, points: Tensor) -> Tensor:
        with torch.no_grad(), torch.random.fork_rng([points.get_device()] if points.is_cuda else []):
            return self.function(points.clone())

    def count(self, z: Tensor, nonpositive: Tensor, raw: Tensor) -> Counted:
        """Return the masks."""
        slopes = wide(laid_out(slope(self.function, raw), self.axis, has_members=self.has_members)).abs()
        largest = wide(self.shape(z, raw).largest_slope)
        limit = SATURATED_SLOPE * (largest if slopes.dim() == 2 else largest[:, None, :, None])
        return Counted(torch.lt(slopes, limit).float(), torch.eq(slopes, 0).float())

    def _rows(self, values: Tensor) -> Float[Tensor, "member point unit"]:
        laid = laid_out(values, self.axis, has_members=self.has_members)
        return laid.unsqueeze(0) if laid.dim() == 2 else laid.movedim(2, 3).flatten(1, 2)


class Part(NamedTuple):
    """One part of a mixed gate: members and units from where to where."""

    members: slice
    units: slice
    gate: Gate


@final
class PartedGate(Gate):
    """Gates side by side: members and, within a layer, units with functions of their own."""

    def __init__(self, parts: Sequence[Part]) -> None:
        self.parts = parts

    def shape(self, z: Tensor, raw: Tensor) -> Shape:
        """Return the parts' shapes, put together: [member, unit] each."""
        whole: list[Tensor] = []
        for part in self.parts:
            found = part.gate.shape(z[part.members, :, part.units], raw[part.members, :, part.units])
            for i, values in enumerate(found):
                if len(whole) <= i:
                    whole.append(values.new_zeros(z.shape[0], z.shape[2]))
                whole[i][part.members, part.units] = values
        return Shape(*whole)

    def count(self, z: Tensor, nonpositive: Tensor, raw: Tensor) -> Counted:
        """Return the parts' masks, put together."""
        saturated, closed = torch.empty_like(nonpositive), torch.empty_like(nonpositive)
        for part in self.parts:
            where = (part.members, slice(None), part.units)
            counted = part.gate.count(z[where], nonpositive[where], raw[where])
            saturated[where] = 0.0 if counted.saturated is None else counted.saturated
            closed[where] = 0.0 if counted.closed is None else counted.closed
        return Counted(saturated, closed)


@lru_cache(maxsize=256)
def interval_gate(
    function: Function, rest: tuple[object, ...], named: tuple[tuple[str, object], ...], dtype: torch.dtype
) -> IntervalGate | None:
    """Return the gate of `function(z, *rest, **named)` for z of `dtype`, None where it has too many intervals.

    The function is tried on the CPU, so that no device waits for it.
    """
    return search_gate(lambda z: function(z, *rest, **dict(named)), dtype)


def search_gate(function: Callable[[Tensor], Tensor], dtype: torch.dtype) -> IntervalGate | None:
    """Return the gate of a function of z alone, None where it has too many intervals, overflows or draws random numbers."""
    with torch.random.fork_rng(devices=[]):
        return _search(function, dtype)


def _search(function: Callable[[Tensor], Tensor], dtype: torch.dtype) -> IntervalGate | None:
    def slopes_at(points: NDArray[np.float64]) -> NDArray[np.float64]:
        at = torch.from_numpy(points).to(dtype)
        slopes: NDArray[np.float64] = slope(function, at).double().abs().numpy()
        return slopes

    limits = torch.finfo(dtype)
    far = np.geomspace(12, min(_FAR, limits.max / 2), _FAR_POINTS)
    grid = np.unique(torch.from_numpy(np.concatenate([-far, _NEAR, far])).to(dtype).double().numpy())
    slopes = slopes_at(grid)
    torch.rand((), device="cpu")  # another random state than at the first look
    if not np.isfinite(slopes).all() or not np.array_equal(slopes, slopes_at(grid)):
        return None  # overflows, or is random: to be looked at where the samples are
    largest = float(slopes.max())
    limit = SATURATED_SLOPE * largest
    saturated = _intervals(grid, lambda z: slopes_at(z) < limit, dtype)
    closed = _intervals(grid, lambda z: slopes_at(z) == 0, dtype)
    if len(saturated) > MOST_INTERVALS or len(closed) > MOST_INTERVALS:
        return None
    return IntervalGate(
        saturated,
        closed,
        largest,
        shuts=_shuts(function),
        saturates=bool(slopes[0] < limit and slopes[-1] < limit),
        linear=bool(slopes.min() == largest > 0),
    )


def _shuts(function: Callable[[Tensor], Tensor]) -> bool:
    """Judge in float32: in half precision a sigmoid underflows to 0 as if it were shut."""
    points = probe_grid(torch.empty(0))
    with torch.no_grad():
        outputs = function(points.clone())
    shape = shape_of(outputs.float().view(1, -1, 1), slope(function, points).view(1, -1, 1))
    return bool(shape.shuts.numpy().all())


def _intervals(
    grid: NDArray[np.float64], holds: Callable[[NDArray[np.float64]], NDArray[np.bool_]], dtype: torch.dtype
) -> tuple[Interval, ...]:
    """Return where `holds`, found on the grid and narrowed down to neighbouring numbers of `dtype`."""
    inside = holds(grid)
    turns = np.flatnonzero(inside[1:] != inside[:-1])
    low, high = grid[turns].copy(), grid[turns + 1].copy()
    for _ in range(_BISECTIONS):
        middle = torch.from_numpy((low + high) / 2).to(dtype).double().numpy()
        open_still = (middle > low) & (middle < high)
        if not open_still.any():
            break
        like_low = holds(middle) == inside[turns]
        low, high = np.where(open_still & like_low, middle, low), np.where(open_still & ~like_low, middle, high)
    # at a turn into the interval its first number is `high`, at a turn out of it its last one is `low`
    starts = [float(end) for end, was in zip(high, inside[turns], strict=True) if not was]
    ends = [float(end) for end, was in zip(low, inside[turns], strict=True) if was]
    if len(inside) and inside[0]:
        starts.insert(0, -np.inf)
    if len(inside) and inside[-1]:
        ends.append(np.inf)
    return tuple(zip(starts, ends, strict=True))


def _inside(intervals: tuple[Interval, ...], z: Float[Tensor, "*shape"], nonpositive: Tensor) -> Tensor | None:
    """Return 1 where z lies in an interval, as float32: floats are compared into and summed three times as fast as bools."""
    if intervals == ((-np.inf, 0.0),):
        return nonpositive
    found: Tensor | None = None
    for low, high in intervals:
        mask = _mask(z, low, high)
        found = mask if found is None else found.add_(mask)
    return found


def _mask(z: Tensor, low: float, high: float) -> Tensor:
    if low == -np.inf:
        return torch.le(z, high, out=torch.empty_like(z))
    above = torch.ge(z, low, out=torch.empty_like(z))
    return above if high == np.inf else above.mul_(torch.le(z, high, out=torch.empty_like(z)))
