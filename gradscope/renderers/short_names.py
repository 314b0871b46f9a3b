"""Names of sites that fit into a column and are still told apart."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len

ARROW = " -> "  # between the sites at both ends of a stretch of weights
INTO = "into "


def shortened_stages(names: Sequence[str], width: int, dots: str) -> list[str]:
    """Return the names of a waterfall's stages in at most `width` columns each.

    A stretch of weights that is too long is named by the site that it leads to.

    >>> shortened_stages(["net.0.act -> net.1.act", "net.0.act"], 16, "…")
    ['into net.1.act', 'net.0.act']
    """
    ends = [name.split(ARROW) for name in names]
    sites = dict.fromkeys(site for pair in ends for site in pair)
    short = dict(zip(sites, shortened_sites(list(sites), width, dots), strict=True))
    shorter = dict(zip(sites, shortened_sites(list(sites), width - len(INTO), dots), strict=True))
    found = [ARROW.join(short[site] for site in pair) for pair in ends]
    return [
        cut(whole if cell_len(whole) <= width else INTO + shorter[pair[-1]], width, dots)
        for whole, pair in zip(found, ends, strict=True)
    ]


def shortened_sites(names: Sequence[str], width: int, dots: str) -> list[str]:
    """Return the names of sites, all in one way: without the path that they share, without file and line, cut in the middle.

    >>> shortened_sites([f"net.blocks.{i}.gelu@net.py:7" for i in range(2)], 12, "…")
    ['…0.gelu', '…1.gelu']
    >>> shortened_sites(["block.relu@net.py:7", "block.relu@net.py:9"], 14, "…")
    ['…relu@net.py:7', '…relu@net.py:9']
    """
    whole = list(names)
    if all(cell_len(name) <= width for name in whole):
        return whole
    shared = _shared_parts(whole)
    if shared:
        whole = [name if name == "output" else dots + ".".join(name.split(".")[shared:]) for name in whole]
    bare = [_without_place(name) for name in whole]
    if any(cell_len(name) > width for name in whole) and len(set(bare)) == len(bare):
        whole = bare
    return [cut(name, width, dots) for name in whole]


def cut(name: str, width: int, dots: str) -> str:
    """Return the name with its middle left out where it is too long: both ends tell sites apart."""
    if cell_len(name) <= width:
        return name
    head = max(0, width - len(dots)) // 2
    tail = max(0, width - len(dots) - head)
    return f"{name[:head]}{dots}{name[len(name) - tail :]}"[:width]


def _shared_parts(names: Sequence[str]) -> int:
    """Return how many modules at the start of the path all sites share."""
    paths = [name.partition("@")[0].split(".")[:-1] for name in names if name != "output"]
    if len(paths) < 2:
        return 0
    shared = 0
    for parts in zip(*paths, strict=False):
        if len(set(parts)) > 1:
            break
        shared += 1
    return shared


def _without_place(name: str) -> str:
    """Return the name without file and line, but with the number of the call."""
    site, _, place = name.partition("@")
    _, number, call = place.partition("#")
    return site + number + call
