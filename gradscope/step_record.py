"""What the sites have seen in one step, put together from its passes: the values of a record."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Mapping, Sequence

from torch import Tensor

from gradscope.recorded_site import SiteCall
from gradscope.row_layout import Slot
from gradscope.site_gradients import combined
from gradscope.site_sums import SiteSums


class StepRecord:
    """Values by what they are of, how many samples stand behind each site's sums, and how large the batch was."""

    def __init__(self, found: Mapping[Slot, Tensor], scale: Tensor | None) -> None:
        """Take what was found beside the sites, and the loss scale that gradients at sites carry."""
        self.found: dict[Slot, Tensor] = dict(found)
        self.counts: dict[str, tuple[int, int]] = {}
        self.batch = 0
        self._scale = scale

    def add_sites(self, calls: Mapping[str, Sequence[SiteCall]]) -> None:
        """Add the sites' values from their calls, one for each pass."""
        done = {key: _done(passes) for key, passes in calls.items()}
        # sums that were made together are kept together, if each of them is its site's only pass
        alone = Counter(id(passes[0].together) for passes in done.values() if len(passes) == 1)
        for key, passes in done.items():
            if not passes:
                continue
            self.batch = self.batch or sum(call.batch for call in passes)
            first = passes[0]
            together = first.together
            if together is not None and alone[id(together)] == len(together.units):
                self.counts[key] = together.rows, together.rows
                first.site.counted |= together.places.counted[first.index]
                if not first.index:
                    self.found.update(together.values())
            else:
                sums = functools.reduce(SiteSums.merged, (call.sums for call in passes))
                self.counts[key] = sums.count, sums.out_count
                first.site.counted |= sums.counts.keys()
                self.found.update(((key, name), value) for name, value in sums.rows().items())
            self.add_gradient((key, "into_gate"), [call.gradients.into_gate for call in passes])
            self.add_gradient((key, "out_of_gate"), [call.gradients.out_of_gate for call in passes])

    def add_gradient(self, key: tuple[str, str], norms: list[Tensor | None]) -> None:
        """Add a gradient's norm over several passes."""
        norm = combined([one for one in norms if one is not None], drop_overflows=self._scale is not None)
        if norm is not None:
            self.found[key] = norm if self._scale is None else norm / self._scale.to(norm.device)


def _done(passes: Sequence[SiteCall]) -> Sequence[SiteCall]:
    """Return the passes that count: those without a gradient went nowhere, if there are others."""
    summed = [call for call in passes if call.is_summed]
    return [call for call in summed if call.gradients.has_come] or summed if len(summed) > 1 else summed
