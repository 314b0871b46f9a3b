"""What a pass through a site adds up to: counts and moments per unit, which passes and processes can be merged by.

`statistics.py` defines each statistic over all samples at once; the sums here come to the same, and more samples can be
added: further passes before an optimizer's step (gradient accumulation), or other processes' share of the batch.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gradscope.gates import Counted, Gate
from gradscope.statistics import plain_norm, wide

COUNTS = ("nonpositive", "saturated", "closed")


@dataclass
class SiteSums:
    """Sums over the samples of a site, [unit], or [member, unit] for a population. Counts are exact up to 2**24 samples.

    Moments are taken about the first sample, so that a z that is the same for all of them has a spread of exactly 0, and a
    large mean does not drown a small spread.
    """

    count: int  # samples, the pixels or times in them included
    counts: dict[str, Tensor]  # of `COUNTS`, those that are not the same as the one before
    first: Tensor  # z of the first sample
    shift: Tensor  # sum of z - first
    spread: Tensor  # sum of (z - first)**2
    out_count: int = 0
    out_sum: Tensor | None = None  # of a
    out_norm: Tensor | None = None  # of a, per member

    def rows(self) -> dict[str, Tensor]:
        """Return what a record keeps, by name."""
        assert self.out_sum is not None
        assert self.out_norm is not None
        moments = {"first": self.first, "shift": self.shift, "spread": self.spread}
        return self.counts | moments | {"out_sum": self.out_sum, "out_norm": self.out_norm}

    def counted(self, name: str) -> Tensor:
        """Return a count, which may be the same as the one before."""
        return next(self.counts[place] for place in COUNTS[COUNTS.index(name) :: -1] if place in self.counts)

    def merged(self, other: SiteSums) -> SiteSums:
        """Return the sums over both sets of samples."""
        assert self.out_sum is not None
        assert self.out_norm is not None
        assert other.out_sum is not None
        assert other.out_norm is not None
        apart = other.first - self.first
        return SiteSums(
            self.count + other.count,
            {name: self.counted(name) + other.counted(name) for name in COUNTS if name in self.counts or name in other.counts},
            self.first,
            self.shift + other.shift + apart * other.count,
            self.spread + other.spread + apart * (2 * other.shift + apart * other.count),
            self.out_count + other.out_count,
            self.out_sum + other.out_sum,
            torch.hypot(self.out_norm, other.out_norm),
        )


def sums_before(z: Tensor, gate: Gate, raw: Tensor) -> SiteSums:
    """Return the sums of a pre-activation; those of the output are still missing (`add_output`).

    Args:
        z: laid out, see `unit_axis.laid_out`.
        gate: of the site.
        raw: z as the network has it.
    """
    z = wide(z)
    nonpositive = torch.le(z, 0, out=torch.empty_like(z))
    counts = _counts(gate.count(z, nonpositive, raw), nonpositive, _total(nonpositive))
    if z.dim() == 2:
        first = z[0].clone()  # z may be overwritten
        apart = torch.sub(z, first, out=nonpositive)  # counted already: the memory is in the cache
    else:
        first = z[:, 0, :, 0].clone()
        apart = z - first[:, None, :, None]
    return SiteSums(samples_of(z), counts, first, _total(apart), _total(apart.mul_(apart)))


def add_output(sums: SiteSums, a: Tensor) -> None:
    """Add what concerns the output a = f(z), laid out like z."""
    a = wide(a)
    sums.out_count = samples_of(a)
    sums.out_sum = _total(a)
    sums.out_norm = torch.linalg.vector_norm(a) if a.dim() == 2 else plain_norm(a)


def samples_of(laid: Tensor) -> int:
    """Return how many values each unit of a laid out tensor has."""
    return laid.shape[0] if laid.dim() == 2 else laid.shape[1] * laid.shape[3]


def _counts(masks: Counted, nonpositive: Tensor, total: Tensor) -> dict[str, Tensor]:
    """Return the counts; `total` is that of `nonpositive`, which the masks often are as well."""
    saturated, closed = masks
    counts = {"nonpositive": total}
    if saturated is not nonpositive:
        counts["saturated"] = _counted(saturated, total)
    if closed is nonpositive is not saturated:
        counts["closed"] = total
    elif closed is not saturated:
        counts["closed"] = _counted(closed, total)
    return counts


def _counted(mask: Tensor | None, like: Tensor) -> Tensor:
    return torch.zeros_like(like) if mask is None else _total(mask)


def _total(values: Tensor) -> Tensor:
    """Return the sum over samples; of rows of units as a product with ones, the fastest sum there is."""
    if values.dim() == 2:
        return torch.mv(values.t(), values.new_ones(values.shape[0]))
    return values.sum(dim=(1, 3))
