"""Annotations as GitHub's runner reads them, and the summary's Markdown."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import checks
import pytest
from checks import EXAMPLES, FAILING

from gradscope.renderers import check_github

ROOT = Path.cwd()


@dataclass
class Annotation:
    level: str
    properties: dict[str, str]
    message: str


def read(text: str) -> list[Annotation]:
    """Read workflow commands as the runner's ActionCommand.TryParseV2 does."""
    assert text == "" or text.endswith("\n")
    return [_command(line) for line in text.split("\n")[:-1]]


def _command(line: str) -> Annotation:
    assert line.startswith("::")
    head, _, message = line[2:].partition("::")
    level, _, rest = head.partition(" ")
    properties = dict(pair.split("=", 1) for pair in rest.split(","))
    return Annotation(level, {k: _unescape(v, {"%3A": ":", "%2C": ","}) for k, v in properties.items()}, _unescape(message, {}))


def _unescape(text: str, more: dict[str, str]) -> str:
    for code, character in ({"%0D": "\r", "%0A": "\n"} | more | {"%25": "%"}).items():
        text = text.replace(code, character)
    return text


@pytest.mark.parametrize("name", EXAMPLES)
def test_each_command_reads_back(name):
    results = EXAMPLES[name]
    found = read(check_github.render(results, ROOT))
    assert bool(found) == (name in (*FAILING, "warned", "all"))
    for annotation in found:
        assert annotation.level in ("error", "warning")
        assert list(annotation.properties) == ["file", "line", "col", "title"]
        assert int(annotation.properties["line"]) >= 1
        assert annotation.properties["title"]
        assert annotation.message


def test_nasty_text_stays_text():
    found = read(check_github.render([checks.nasty()], ROOT))
    first = found[0]
    assert first.properties["file"] == "recipes/größe, a:b 100%|x.yaml"
    assert first.properties["line"] == "3"
    assert "%0A größe \U0001f642" in first.message
    assert "100 % of z ≤ 0, and: a|b ?[31mred" in first.message


def test_the_worked_example():
    (first, second) = read(check_github.render([checks.collapsed(differences=[_elsewhere(), checks.new_finding()])], ROOT))
    assert first.level == second.level == "error"
    assert first.properties == {
        "file": "recipes/net.yaml", "line": "5", "col": "31", "title": "GS103 output-collapse at 3.relu",
    }  # fmt: skip
    lines = first.message.split("\n")
    assert lines[0] == "new finding GS103 output-collapse at `3.relu` in 5 of 5 seeds"
    assert lines[2].startswith("Cause: the sigmoid layer")
    assert lines[3].startswith("To try: batchnorm-last")
    assert second.properties["title"] == "closed_frac at 1.relu"


def _elsewhere():
    return checks.number(place=checks.Place(file=checks.NET, line=4))


def test_what_is_about_one_line_is_one_annotation():
    (found,) = read(check_github.render([checks.collapsed()], ROOT))
    assert found.properties["title"] == "GS103 output-collapse at 3.relu and 1 more"
    assert found.message.endswith("`1.relu` closed_frac 0.02 -> 0.41 (tolerance 0.10)")


def test_each_recipes_first_annotation_comes_before_any_second():
    results = [checks.collapsed(f"recipes/{i}.yaml", differences=[checks.new_finding(), _elsewhere()]) for i in range(3)]
    titles = [annotation.properties["title"] for annotation in read(check_github.render(results, ROOT))]
    assert titles == ["GS103 output-collapse at 3.relu"] * 3 + ["closed_frac at 1.relu"] * 3


def test_paths_are_relative_to_the_repository(tmp_path, monkeypatch):
    (tmp_path / "below").mkdir()
    monkeypatch.chdir(tmp_path / "below")
    (tmp_path / "link").symlink_to(tmp_path / "below", target_is_directory=True)
    for named, expected in {
        "a.yaml": "below/a.yaml",
        "../b.yaml": "b.yaml",
        str(tmp_path / "below/c.yaml"): "below/c.yaml",
        str(tmp_path / "link/d.yaml"): "link/d.yaml",
        "/elsewhere/e.yaml": "/elsewhere/e.yaml",
    }.items():
        difference = checks.new_finding(place=checks.Place(file=named))
        (found,) = read(check_github.render([checks.collapsed(named, differences=[difference])], tmp_path))
        assert found.properties["file"] == expected


def test_a_root_that_is_a_link_is_the_same_root(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real", target_is_directory=True)
    difference = checks.new_finding(place=checks.Place(file=str(tmp_path / "real" / "a.yaml")))
    (found,) = read(check_github.render([checks.collapsed(differences=[difference])], tmp_path / "link"))
    assert found.properties["file"] == "a.yaml"


def cells(line: str) -> list[str]:
    return re.split(r"(?<!\\)\|", line)[1:-1]


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_summary_is_one_table(name):
    results = EXAMPLES[name]
    title, empty, *table = check_github.summary(results).splitlines()
    assert title.startswith("### gradscope check: ")
    assert empty == ""
    assert len(table) == (len(results) + 2 if results else 0)
    assert {len(cells(row)) for row in table} <= {4}
    text = "\n".join(table).replace("<br>", "")
    assert not re.search(r"(?<!\\)[<>]", text)


def test_the_summary_names_failures_first():
    rows = [cells(row) for row in check_github.summary(EXAMPLES["all"]).splitlines()[4:]]
    assert [row[1].strip() for row in rows] == [
        "**bad recipe**", *["**not as expected**"] * 3, "**could not judge**", "as expected", "as expected",
    ]  # fmt: skip
    assert rows[0][0].strip() == "recipes/a:b.yaml"


def test_the_summary_of_thousands_of_recipes_fits():
    many = [checks.nasty() for _ in range(1500)]
    text = check_github.summary(many)
    assert len(text.encode()) < 2**20
    assert "1300 further recipes are in the log." in text


def test_a_line_with_many_problems_tells_the_worst():
    many = [checks.new_finding(), *(checks.number(text=f"number {i}") for i in range(40))]
    (found,) = read(check_github.render([checks.collapsed(differences=many)], ROOT))
    lines = found.message.split("\n")
    assert lines[0].startswith("new finding GS103")
    assert lines[-1] == "and 29 more, see the log"
    assert len(check_github.summary([checks.collapsed(differences=many)]).split("<br>")) < 20


def test_a_long_text_is_cut_in_the_summary():
    text = check_github.summary([checks.collapsed(differences=[checks.new_finding(text="long " * 10_000)])])
    assert len(text) < 2_500
    assert "long long..." in text
