"""Modules joined into one script."""

from __future__ import annotations

import re

import pytest

from gradscope.renderers.html_page import ENTRY, STATIC
from gradscope.renderers.html_script import joined_script

MODULES = {
    "report.js": """
import { draw as paint, size } from "./heat.js";
import * as all from "./colors.js";

export function show() {}
""",
    "heat.js": """
import {
  red,
} from "./colors.js";
export async function draw() {}
export const size = 3;
export class Heat {}
""",
    "colors.js": 'export const red = "</script><!--";\nconst own = 1;\n',
    "unused.js": "this is not even JavaScript",
}


def test_modules_stand_behind_those_that_they_need() -> None:
    script = joined_script(MODULES, "report.js")
    assert re.findall(r'^modules\["(.*)"\] = ', script, re.M) == ["colors.js", "heat.js", "report.js"]
    assert 'const { draw: paint, size } = modules["heat.js"];' in script
    assert 'const { red } = modules["colors.js"];' in script
    assert 'const all = modules["colors.js"];' in script
    assert "return { draw, size, Heat };" in script
    assert not re.search(r"^\s*(import|export)\b", script, re.M)
    assert script.endswith('const entry = modules["report.js"];\n')


def test_nothing_in_a_module_ends_the_pages_script() -> None:
    script = joined_script(MODULES, "report.js")
    assert "</script" not in script
    assert "<!--" not in script
    assert r"<\/script><\!--" in script


@pytest.mark.parametrize(
    ("module", "text"),
    [
        ('import x from "./colors.js";\n', "import x"),
        ('import "./colors.js";\n', 'import "./colors.js"'),
        ('import { x } from "https://example.org/x.js";\n', "example.org"),
        ("export default 3;\n", "export default"),
        ("export let count = 0;\n", "export let"),
        ('export { red } from "./colors.js";\n', "export { red }"),
        ('const later = () => import("./colors.js");\n', "import("),
        ("const here = import.meta.url;\n", "import.meta"),
        ('import { x } from "./gone.js";\n', "gone.js"),
        ('import { show } from "./report.js";\n', "cycles"),
    ],
)
def test_what_cannot_be_joined_is_refused(module: str, text: str) -> None:
    modules = {**MODULES, "heat.js": module}
    with pytest.raises(ValueError, match=re.escape(text)):
        joined_script(modules, "report.js")


def test_the_pages_own_modules_can_be_joined() -> None:
    modules = {path.name: path.read_text(encoding="utf-8") for path in STATIC.glob("*.js")}
    script = joined_script(modules, ENTRY)
    assert script.count("\nmodules[") > 3
    assert "export " not in re.sub(r"//.*|/\*.*?\*/", "", script, flags=re.S)


def test_the_pages_style_loads_nothing() -> None:
    style = (STATIC / "style.css").read_text(encoding="utf-8")
    assert "@import" not in style
    assert "url(" not in style
