"""What the tab and the HTML report say of a site: its place in the network, in words that fit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

from gradscope.trace import Site

SHORT = 24  # characters that a short name has at most
DOTS = "…"


class SiteFacts(TypedDict):
    """What an event file and a document hold of a site."""

    name: str
    units: int
    is_output: bool
    shuts_frac: float
    saturates_frac: float


class ViewSite(SiteFacts):
    """The same with a name that fits."""

    short: str


def facts_of(site: Site) -> SiteFacts:
    """Return what is told of a site; shares of its units that can shut and that can saturate, 0 where it has none."""
    units = max(site.units, 1)
    return SiteFacts(
        name=site.name,
        units=site.units,
        is_output=bool(site.is_output),
        shuts_frac=round(float(site.shuts.sum()) / units, 4),
        saturates_frac=round(float(site.saturates.sum()) / units, 4),
    )


def view_sites(sites: Sequence[SiteFacts]) -> list[ViewSite]:
    """Return the sites of one network with short names that tell them apart."""
    names = short_names([site["name"] for site in sites])
    return [ViewSite(**facts, short=short) for facts, short in zip(sites, names, strict=True)]


def short_names(names: Sequence[str]) -> list[str]:
    """Return names of at most `SHORT` characters, all different where the names are.

    >>> short_names(["a" * 30 + "." + str(i) + ".act" for i in range(2)])
    ['…0.act', '…1.act']
    """
    from gradscope.renderers.short_names import cut, shortened_sites

    found = shortened_sites(list(names), SHORT, DOTS)
    if len(set(found)) == len(set(names)):
        return found
    return [f"{cut(name, SHORT - 1 - len(str(i)), DOTS)} {i}" for i, name in enumerate(names)]
