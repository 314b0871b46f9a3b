"""The page's modules joined into one script: a page that is opened from a file cannot import other files.

Each module keeps a scope of its own. What a module may use is told in docs/view-data.md; anything else is refused here, so
that a test of the page's own modules finds it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

IMPORT = re.compile(r'^import\s+(?:\{(?P<names>[^}]*)\}|\*\s+as\s+(?P<whole>\w+))\s+from\s+"\./(?P<file>[\w-]+\.js)";?', re.M)
EXPORT = re.compile(r"^export\s+(?=(?:async\s+function|function|class|const)\s*\*?\s*(?P<name>[A-Za-z_$][\w$]*))", re.M)
UNFIT = re.compile(r"^\s*(?:import|export)\b.*|\bimport\s*\(.*|\bimport\.meta\b.*", re.M)
TABLE = "modules"


def joined_script(modules: Mapping[str, str], entry: str) -> str:
    """Return one script that ends in the object `entry`, with what the entry module exports.

    Args:
        modules: the text of each by its file's name.
        entry: the file of the module to begin with; what it does not need is left out.

    Raises:
        ValueError: a module that cannot be joined: a cycle, an import of something else, a form that is not taken.
    """
    order: list[str] = []
    _add(modules, entry, order, ())
    parts = [_wrapped(name, modules[name]) for name in order]
    script = "\n".join([f"const {TABLE} = {{}};", *parts, f'const entry = {TABLE}["{entry}"];', ""])
    return script.replace("</script", r"<\/script").replace("<!--", r"<\!--")  # either would end or hide the page's script


def _add(modules: Mapping[str, str], name: str, order: list[str], above: tuple[str, ...]) -> None:
    """Append a module behind those that it needs."""
    if name in above:
        raise ValueError(f"{' imports '.join([*above, name])}: expected modules without cycles")
    if name in order:
        return
    if name not in modules:
        raise ValueError(f"{above[-1] if above else 'the page'}: expected a module beside it, got {name!r}")
    for found in IMPORT.finditer(modules[name]):
        _add(modules, found["file"], order, (*above, name))
    order.append(name)


def _wrapped(name: str, text: str) -> str:
    exported = [found["name"] for found in EXPORT.finditer(text)]
    body = EXPORT.sub("", IMPORT.sub(_taken, text))
    unfit = UNFIT.search(body)
    if unfit:
        raise ValueError(f"{name}: expected named imports and exports, got {unfit[0].strip()!r}")
    return f'{TABLE}["{name}"] = (() => {{\n{body}\nreturn {{ {", ".join(exported)} }};\n}})();'


def _taken(found: re.Match[str]) -> str:
    """Return the line that takes from a module joined before what an import names."""
    source = f'{TABLE}["{found["file"]}"]'
    if found["whole"]:
        return f"const {found['whole']} = {source};"
    names = [part.strip() for part in found["names"].split(",") if part.strip()]
    return f"const {{ {', '.join(name.replace(' as ', ': ') for name in names)} }} = {source};"
