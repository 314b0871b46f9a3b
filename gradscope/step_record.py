"""What the sites have seen in one step, put together from its passes: the values of a record."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence

from torch import Tensor

from gradscope.recorded_site import SiteCall
from gradscope.row_layout import Key
from gradscope.site_gradients import combined
from gradscope.site_sums import SiteSums


class StepRecord:
    """Values by what they are of, how many samples stand behind each site's sums, and how large the batch was."""

    def __init__(self, found: Mapping[Key, Tensor], scale: Tensor | None) -> None:
        """Take what was found beside the sites, and the loss scale that gradients at sites carry."""
        self.found: dict[Key, Tensor] = dict(found)
        self.counts: dict[str, tuple[int, int]] = {}
        self.batch = 0
        self._scale = scale

    def add_sites(self, calls: Mapping[str, Sequence[SiteCall]]) -> None:
        """Add the sites' values from their calls, one for each pass."""
        for key, all_passes in calls.items():
            if not all_passes:
                continue
            # passes without a gradient went nowhere
            passes = [call for call in all_passes if call.gradients.has_come] or all_passes
            self.batch = self.batch or sum(call.batch for call in passes)
            sums = functools.reduce(SiteSums.merged, (call.sums for call in passes))
            self.counts[key] = sums.count, sums.out_count
            passes[0].site.counted |= sums.counts.keys()
            for name, value in sums.rows().items():
                self.found[key, name] = value
            self.add_gradient((key, "into_gate"), [call.gradients.into_gate for call in passes])
            self.add_gradient((key, "out_of_gate"), [call.gradients.out_of_gate for call in passes])

    def add_gradient(self, key: Key, norms: list[Tensor | None]) -> None:
        """Add a gradient's norm over several passes."""
        norm = combined([one for one in norms if one is not None], drop_overflows=self._scale is not None)
        if norm is not None:
            self.found[key] = norm if self._scale is None else norm / self._scale.to(norm.device)
