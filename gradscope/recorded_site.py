"""A site as the recorder knows it, and one call of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from gradscope.autograd_graph import Node
from gradscope.gates import Gate
from gradscope.site_gradients import Gradients
from gradscope.site_sums import SiteSums
from gradscope.statistics import Shape


class HostShape(NamedTuple):
    """The truth values of `statistics.Shape` on the host."""

    shuts: NDArray[np.bool_]
    saturates: NDArray[np.bool_]
    linear: NDArray[np.bool_]


@dataclass
class RecordedSite:
    """A site: its names, its non-linearity, and how its tensors are laid out."""

    key: str
    labels: tuple[str, ...]  # its name in each member, or one for all
    shape: Shape | None = None
    gate: Gate | None = None
    axis: int = -1
    is_output: bool = False
    host: HostShape | None = None
    counted: frozenset[str] = frozenset()  # which counts are kept, the others being the same as one of these
    gate_key: object = None  # of the call that the gate is of
    feeds: set[str] | None = None  # keys of the sites that its output reaches past no other; None where no graph was read
    wants_gradient: bool = False  # something before it is to be trained

    @property
    def is_known(self) -> bool:
        """Whether it was looked at, and not only passed."""
        return self.shape is not None or self.host is not None

    def host_shape(self) -> HostShape:
        """Return what `trace.Site` needs of the non-linearity, copied to the host once: [member, unit] each."""
        if self.host is None:
            assert self.shape is not None
            masks = (self.shape.shuts, self.shape.saturates, self.shape.linear)
            self.host = HostShape(*(mask.cpu().numpy() for mask in masks))
            self.shape = None
        return self.host


@dataclass
class SiteCall:
    """One call of a site; z and what made it are kept until the call is over only."""

    site: RecordedSite
    sums: SiteSums
    gradients: Gradients
    batch: int
    z: Tensor | None
    made_z: Node | None  # before a call in place replaces it
