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
    """The same with what a drawing needs of its name."""

    short: str
    layer: str
    activation: str | None


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
    """Return the sites of one network with short names that tell them apart, layers, and activations where the names tell."""
    found: list[ViewSite] = []
    for facts, short in zip(sites, short_names([site["name"] for site in sites]), strict=True):
        layer, activation = parts_of(facts["name"])
        found.append(ViewSite(**facts, short=short, layer=layer, activation=activation))
    return found


def parts_of(name: str) -> tuple[str, str | None]:
    """Return a site's layer and its activation, None where the name does not tell.

    >>> parts_of("3.relu"), parts_of("block.act#2"), parts_of("block.mlp.gelu@model.py:31#2")
    (('3', 'relu'), ('block.act#2', None), ('block.mlp@model.py:31#2', 'gelu'))
    """
    from gradscope.activations import TABLE  # with pydantic behind it: when a document is made, not when a tab is loaded

    path, at, place = name.partition("@")
    if not at:
        path, at, place = name.partition("#")
    module, _, last = path.rpartition(".")
    plain = last.partition("(")[0].lower()
    return (f"{module}{at}{place}", last) if module and plain in TABLE else (name, None)


def short_names(names: Sequence[str]) -> list[str]:
    """Return names of at most `SHORT` characters, all different where the names are.

    >>> short_names(["a" * 30 + "." + str(i) + ".act" for i in range(2)])
    ['….0.act', '….1.act']
    """
    from gradscope.renderers.short_names import cut, shortened_sites

    found = shortened_sites(list(names), SHORT, DOTS)
    if len(set(found)) == len(set(names)):
        return found
    return [f"{cut(name, SHORT - 1 - len(str(i)), DOTS)} {i}" for i, name in enumerate(names)]
