"""How the gates of a layer's units are shaped: how open they can be, and whether they shut."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from gradscope.activations import ActivationSpec
from gradscope.statistics import probe_grid, shape_of, slope
from gradscope.unit_activation import Build


@dataclass(frozen=True)
class Gates:
    """How the gates of a layer's units are shaped, [unit] each."""

    largest_slope: Float[Tensor, " unit"]
    shuts: Bool[Tensor, " unit"]  # slope and output 0 far below zero; zeros are its work, so only a unit shut for all is lost

    @classmethod
    def of(cls, blocks: Sequence[tuple[ActivationSpec, int]], build: Build, device: torch.device) -> Gates:
        """Probe activations as they are built, each for so many units."""
        slopes, shuts = [], []
        for spec, units in blocks:
            function = build(spec).to(device)
            grid = probe_grid(torch.zeros(1, device=device)).view(1, -1, 1)
            with torch.no_grad():
                shape = shape_of(function(grid), slope(function, grid))
            slopes.append(shape.largest_slope.view(1).expand(units))
            shuts.append(shape.shuts.view(1).expand(units))
        return cls(torch.cat(slopes), torch.cat(shuts))
