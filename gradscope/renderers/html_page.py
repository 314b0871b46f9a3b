"""One HTML file with the page's modules, its style and its data inside; it asks no server for anything."""

from __future__ import annotations

import base64
import hashlib
import html
import json
from collections.abc import Mapping
from pathlib import Path
from string import Template

from gradscope.renderers.html_script import joined_script

STATIC = Path(__file__).parents[1] / "tensorboard_plugin" / "static"
ENTRY = "report.js"
DATA = "gradscope-data"
START = f'entry.show(JSON.parse(document.getElementById("{DATA}").textContent));\n'

PAGE = Template("""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="$policy">
<meta name="generator" content="gradscope $version">
<title>$title</title>
<link rel="icon" href="data:,">
<style>
$style</style>
</head>
<body>
<main id="gradscope">
$summary</main>
<script type="application/json" id="$data_id">$data</script>
<script type="module">
$script</script>
</body>
</html>
""")


def html_page(title: str, version: str, summary: str, payload: Mapping[str, object]) -> str:
    """Return the file's text.

    Args:
        title: of the browser's tab.
        version: of gradscope.
        summary: HTML to be seen where scripts may not run.
        payload: what the page draws.
    """
    modules = {path.name: path.read_text(encoding="utf-8") for path in sorted(STATIC.glob("*.js"))}
    script = joined_script(modules, ENTRY) + START
    return PAGE.substitute(
        policy=_policy(f"\n{script}"),
        version=html.escape(version),
        title=html.escape(title),
        style=(STATIC / "style.css").read_text(encoding="utf-8"),
        summary=summary,
        data_id=DATA,
        data=json.dumps(payload, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c"),
        script=script,
    )


def _policy(script: str) -> str:
    """Return what the browser may load for the page: nothing, and no script but this one."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return f"default-src 'none'; script-src 'sha256-{digest}'; style-src 'unsafe-inline'; img-src data: blob:"
