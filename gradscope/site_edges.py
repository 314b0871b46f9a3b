"""Which sites feed which, read from autograd's graph: branches that part and meet, towers side by side, shared modules."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

Node = Any  # torch.autograd.graph.Node: its subclasses have no types
_MOST_NODES = 200_000


def site_edges(roots: Iterable[Node], sites: Mapping[Node, str]) -> dict[str, set[str]] | None:
    """Return for each site those that its output reaches past no other site; None where the graph is too large to read.

    One walk from the losses down; each node's set of sites is a number with a bit for each of them.

    Args:
        roots: nodes of what backward is called on.
        sites: the node that made each site's output, with the site's key; sites cut from the losses are walked from as well.
    """
    keys = list(dict.fromkeys(sites.values()))
    bits = {key: 1 << i for i, key in enumerate(keys)}
    order = _children_first([*roots, *sites])
    if order is None:
        return None
    first: dict[Node, int] = {}  # the sites first met below each node
    feeds: dict[str, set[str]] = {key: set() for key in keys}
    for node in order:
        below = 0
        for child, _ in node.next_functions:
            if child is not None:
                below |= bits[sites[child]] if child in sites else first[child]
        first[node] = below
        if node in sites:
            for i in _set_bits(below):
                feeds[keys[i]].add(sites[node])
    return feeds


def _children_first(roots: Iterable[Node]) -> list[Node] | None:
    """Return all nodes below the roots, each after those below it."""
    order: list[Node] = []
    seen: set[Node] = set()
    for root in roots:
        stack = [(root, False)]
        while stack:
            node, is_done = stack.pop()
            if is_done:
                order.append(node)
                continue
            if node in seen:
                continue
            if len(seen) >= _MOST_NODES:
                return None
            seen.add(node)
            stack.append((node, True))
            stack += [(child, False) for child, _ in node.next_functions if child is not None and child not in seen]
    return order


def _set_bits(number: int) -> Iterable[int]:
    while number:
        lowest = number & -number
        yield lowest.bit_length() - 1
        number ^= lowest
