"""Checks as annotations on a pull request at GitHub, and as a table for the summary of a workflow's step."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from gradscope.check_result import CheckResult
from gradscope.renderers.check_paths import in_repository
from gradscope.renderers.check_problems import OUTCOMES, Problem, conditions, problems, tally
from gradscope.renderers.markdown import plain

MOST_ROWS = 200  # a step's summary holds 1 MiB
MOST_PROBLEMS = 12  # of one recipe in the summary, of one line in an annotation
LONGEST_CELL = 500


def render(results: Sequence[CheckResult], root: Path) -> str:
    """Return a workflow command for each line of a file that has errors or warnings; nothing where all is as expected.

    GitHub shows ten errors and ten warnings a step, so what is about one line is one annotation, which explains the worst, and
    each recipe's first comes before any second. Paths are relative to `root`, the repository's; notes are left to the log and
    the summary.
    """
    commands = [_commands(result, root) for result in results]
    longest = max(map(len, commands), default=0)
    turns = [command[i] for i in range(longest) for command in commands if i < len(command)]
    return "".join(f"{command}\n" for command in turns)


def summary(results: Sequence[CheckResult]) -> str:
    """Return the checks as Markdown: one row a recipe, those that failed first."""
    ordered = sorted(results, key=lambda result: OUTCOMES.index(result.outcome))
    lines = [f"### gradscope check: {plain(tally(results))}", ""]
    if results:
        lines += ["| recipe | outcome | verdict | what is to be told |", "| --- | --- | --- | --- |"]
        lines += [_row(result) for result in ordered[:MOST_ROWS]]
    if len(ordered) > MOST_ROWS:
        lines += ["", f"{len(ordered) - MOST_ROWS} further recipes are in the log."]
    return "\n".join(lines) + "\n"


def _row(result: CheckResult) -> str:
    outcome = result.outcome if result.outcome == "as expected" else f"**{result.outcome}**"
    found = problems(result)
    told = [_told(problem) for problem in found[:MOST_PROBLEMS]]
    if len(found) > MOST_PROBLEMS:
        told.append(f"and {len(found) - MOST_PROBLEMS} more")
    return f"| {_cell(result.recipe)} | {outcome} | {_cell(conditions(result))} | {'<br>'.join(told)} |"


def _told(problem: Problem) -> str:
    line = f" (line {problem.place.line})" if problem.place.line > 1 else ""
    return "<br>".join([f"**{problem.level}**{line}: {_cell(problem.headed_text)}", *map(_cell, problem.details)])


def _cell(text: str) -> str:
    return plain(text if len(text) <= LONGEST_CELL else f"{text[: LONGEST_CELL - 3]}...")


def _commands(result: CheckResult, root: Path) -> list[str]:
    """Return one command for each line that has problems, in the order of their first ones."""
    lines: dict[tuple[str, int], list[Problem]] = {}
    for problem in problems(result):
        if problem.level != "note":
            lines.setdefault((problem.place.file, problem.place.line), []).append(problem)
    return [_command(found, root) for found in lines.values()]


def _command(found: Sequence[Problem], root: Path) -> str:
    first = found[0]  # the worst
    more = f" and {len(found) - 1} more" if len(found) > 1 else ""
    properties = {
        "file": in_repository(first.place.file, root) or first.place.file,
        "line": str(first.place.line),
        "col": str(first.place.column),
        "title": f"{first.title}{more}",
    }
    told = ",".join(f"{name}={_property(value)}" for name, value in properties.items())
    lines = [first.headed_text, *first.details, *(problem.headed_text for problem in found[1:MOST_PROBLEMS])]
    if len(found) > MOST_PROBLEMS:
        lines.append(f"and {len(found) - MOST_PROBLEMS} more, see the log")
    message = "\n".join(lines)
    return f"::{first.level} {told}::{_data(message)}"


def _data(text: str) -> str:
    """Escape the text behind a workflow command: it ends at the line's end."""
    safe = text.encode("utf-8", "replace").decode("utf-8")  # half a surrogate pair, from a file's name in another encoding
    return safe.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    """Escape a property of a workflow command: it ends at a comma, the last one at a colon.

    >>> _property("a: 5 %, b")
    'a%3A 5 %25%2C b'
    """
    return _data(text).replace(":", "%3A").replace(",", "%2C")
