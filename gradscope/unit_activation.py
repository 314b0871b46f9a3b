"""The activation of one layer of a population: by members, and within a layer by blocks of units."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate, groupby

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import handle_torch_function, has_torch_function_unary

from gradscope.activations import ActivationSpec
from gradscope.initial_weights import seeded

Build = Callable[[ActivationSpec], nn.Module]
Blocks = tuple[tuple[ActivationSpec, int], ...]  # activation and number of units, in order


class UnitActivation(nn.Module):
    """Applies to each member and each block of its units an activation of its own.

    Neighbouring members with equal blocks are served by one call. A learnable parameter (PReLU) is one per member, as in
    networks of their own.
    """

    def __init__(self, members: Sequence[Blocks], build: Build, seeds: Sequence[int] | None = None) -> None:
        """Build the activations.

        Args:
            members: the blocks of units of each member.
            build: makes an activation's module.
            seeds: one per member (default: all 0); from it comes what a module of the user's draws for its weights.
        """
        super().__init__()
        seeds = seeds or [0] * len(members)
        self.labels = tuple("+".join(spec.label for spec, _ in blocks) for blocks in members)
        self.site_labels = self.labels  # what its sites are called; whoever knows the layer's number puts it before
        self.rows: list[tuple[int, ...]] = []  # members of each group, neighbours
        groups = []
        for blocks, run in groupby(range(len(members)), key=lambda i: members[i]):
            rows = tuple(run)
            with seeded(seeds[rows[0]]):
                has_state = any(_has_state(build(spec)) for spec, _ in blocks)
            for part in [(row,) for row in rows] if has_state else [rows]:
                self.rows.append(part)
                with seeded(seeds[part[0]]):
                    groups.append(_Group(blocks, len(part), build))
        self.groups = nn.ModuleList(groups)

    @property
    def is_as_built(self) -> bool:
        """Whether nobody has put anything around the functions."""
        return all(type(group) is _Group for group in self.groups)

    def shared(self) -> Iterator[tuple[tuple[int, ...], int, int, nn.Module]]:
        """Yield each function with the members that share it, neighbours, and its units from the first to before the last."""
        for rows, group in zip(self.rows, self.groups, strict=True):
            assert isinstance(group, _Group)
            stops = list(accumulate(group.units))
            for stop, units, function in zip(stops, group.units, group.functions, strict=True):
                yield rows, stop - units, stop, function

    def forward(self, z: Float[Tensor, "member batch unit"]) -> Float[Tensor, "member batch unit"]:
        """Return the outputs a = f(z). A torch function mode sees the whole as one function, not its parts."""
        if has_torch_function_unary(z):
            return handle_torch_function(UnitActivation.forward, (z,), self, z)
        if len(self.groups) == 1:
            return self.groups[0](z)  # type: ignore[no-any-return]
        parts = z.split([len(rows) for rows in self.rows])
        return torch.cat([group(part).mT for group, part in zip(self.groups, parts, strict=True)]).mT  # as z lies in memory


class _Group(nn.Module):
    def __init__(self, blocks: Blocks, members: int, build: Build) -> None:
        super().__init__()
        self.units = [units for _, units in blocks]
        self.functions = nn.ModuleList(_for_members(build(spec), members) for spec, _ in blocks)

    def forward(self, z: Tensor) -> Tensor:
        if len(self.functions) == 1:
            return self.functions[0](z)  # type: ignore[no-any-return]
        parts = z.split(self.units, dim=-1)
        return torch.cat([function(part).mT for function, part in zip(self.functions, parts, strict=True)], dim=1).mT


class MemberPReLU(nn.Module):
    """PReLU with one learnable slope per member: `torch.nn.PReLU()` in each of them."""

    def __init__(self, members: int, init: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((members,), init))

    def forward(self, z: Float[Tensor, "member batch unit"]) -> Float[Tensor, "member batch unit"]:
        """Return z where positive, weight * z elsewhere."""
        return functional.prelu(z.transpose(0, 1), self.weight).transpose(0, 1)


def _for_members(module: nn.Module, members: int) -> nn.Module:
    if isinstance(module, nn.PReLU):
        return MemberPReLU(members, float(module.weight.detach()[0]))
    return module


def _has_state(module: nn.Module) -> bool:
    """Tell whether members must not share the module: it learns or remembers something."""
    return not isinstance(module, nn.PReLU) and bool([*module.parameters(), *module.buffers()])
