"""Draw a pull request that puts a relu behind a sigmoid, with the annotation that `gradscope check` makes of it.

python scripts/make_check_picture.py docs/check.svg

The command runs twice in a folder made for it, before and after the change; what the picture says is what it wrote.
"""

import difflib
import io
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from rich.console import Console, Group
from rich.padding import Padding
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

ROOT = Path(__file__).parents[1]
WIDTH = 104
RECIPE = "recipes/digits.yaml"
BEFORE = """\
data: digits
stack:
  hidden: [500, 256]
  activations: [relu, sigmoid, none]
training: {optimizer: sgd, lr: 0.01, momentum: 0.5, batch_size: 32, epochs: 20}
seeds: 5
expect: healthy
"""
AFTER = BEFORE.replace("sigmoid, none]", "sigmoid, relu]")
COLORS = {"+": "white on rgb(18,61,39)", "-": "white on rgb(86,29,33)", " ": "rgb(197,200,198)"}


class Annotation(NamedTuple):
    """What GitHub is told to show at a line."""

    level: str
    file: str
    line: int
    title: str
    message: str


def check(folder: Path, recipe: str) -> tuple[int, str]:
    """Write the recipe into `folder` and return the command's exit code and output."""
    file = folder / RECIPE
    file.parent.mkdir(exist_ok=True)
    file.write_text(recipe, encoding="utf-8")
    command = [sys.executable, "-m", "gradscope", "check", "--format", "github", "recipes"]
    environment = {name: value for name, value in os.environ.items() if name != "GITHUB_STEP_SUMMARY"}
    environment |= {"PYTHONPATH": str(ROOT), "GITHUB_WORKSPACE": str(folder)}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def annotations(output: str) -> list[Annotation]:
    """Read the workflow commands in a log."""
    found = []
    for level, told, message in re.findall(r"^::(error|warning) (.*?)::(.*)$", output, re.MULTILINE):
        values = {name: _read(value) for name, value in (pair.split("=", 1) for pair in told.split(","))}
        found.append(Annotation(level, values["file"], int(values["line"]), values["title"], _read(message)))
    return found


def _read(text: str) -> str:
    for code, character in {"%0A": "\n", "%3A": ":", "%2C": ",", "%25": "%"}.items():
        text = text.replace(code, character)
    return text


def draw(before: str, after: str, told: list[Annotation]) -> str:
    """Return the change with the annotations below the lines that they are about, as SVG."""
    console = Console(record=True, width=WIDTH, file=io.StringIO(), force_terminal=True, color_system="truecolor", _environ={})
    console.print(Text(f"{RECIPE}", "bold"))
    number = 0
    for line in difflib.ndiff(before.splitlines(), after.splitlines()):
        mark, text = line[0], line[2:]
        if mark == "?":
            continue
        number += mark != "-"
        shown = "" if mark == "-" else str(number)
        console.print(Text(f"{shown:>4} {mark} {text}".ljust(WIDTH), COLORS[mark]), no_wrap=True, overflow="crop")
        for annotation in told if mark != "-" else []:
            if (annotation.file, annotation.line) == (RECIPE, number):
                console.print(Padding(_box(annotation), (0, 2, 0, 7)))
    picture = console.export_svg(title="Pull request: keep the outputs positive  ·  Files changed")
    return re.sub(r"@font-face \{.*?\}", "", picture, flags=re.DOTALL)  # fonts from the network


def _box(annotation: Annotation) -> Panel:
    lines = [Text(annotation.title, "bold"), Text()]
    for line in annotation.message.split("\n"):
        lines.append(Text(line))
    table = Table.grid()
    table.add_row(Group(*lines))
    style = "red" if annotation.level == "error" else "yellow"
    title = f"Check failure on line {annotation.line} in {annotation.file}"
    return Panel(table, title=title, title_align="left", border_style=style)


def main(target: Path) -> None:
    """Run both checks and write the picture.

    Raises:
        SystemExit: the first does not pass, or the second does not fail at the changed line.
    """
    with tempfile.TemporaryDirectory() as name:
        passed, log = check(Path(name), BEFORE)
        failed, output = check(Path(name), AFTER)
    told = annotations(output)
    if (passed, failed) != (0, 1) or not any(one.line == 4 for one in told):
        raise SystemExit(f"expected a check that passes and one that fails at line 4, got:\n{log}\n{output}")
    target.write_text(draw(BEFORE, AFTER, told), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
