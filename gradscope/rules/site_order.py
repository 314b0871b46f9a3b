"""Which sites come before which: by the network's real graph where the trace has it, else in the order of their calls."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gradscope.trace import Trace


def is_graph_known(trace: Trace) -> bool:
    """Tell whether the trace says of each site which ones it feeds."""
    return all(site.feeds is not None for site in trace.sites)


def fed_by(trace: Trace, i: int) -> list[int]:
    """Return the sites whose output reaches a site past no other; the one called before it where the graph is not known."""
    if not is_graph_known(trace):
        return [i - 1] if i else []
    return [j for j, site in enumerate(trace.sites) if i in (site.feeds or ())]


def fed_from(trace: Trace, i: int) -> list[int]:
    """Return the sites that a site's output reaches past no other; the next one where the graph is not known."""
    if not is_graph_known(trace):
        return [i + 1] if i + 1 < len(trace.sites) else []
    return sorted(trace.sites[i].feeds or ())


def leads_to(trace: Trace) -> NDArray[np.bool_]:
    """Return whether a path leads from the first site to the second, [site, site]; none leads from a site to itself.

    A site feeds only sites that were first called after it, so that no two lead to each other.
    """
    count = len(trace.sites)
    if not is_graph_known(trace):
        return np.triu(np.ones((count, count), np.bool_), k=1)
    leads = np.zeros((count, count), np.bool_)
    for i in reversed(range(count)):
        for j in trace.sites[i].feeds or ():
            if j > i:
                leads[i] |= leads[j]
                leads[i, j] = True
    return leads
