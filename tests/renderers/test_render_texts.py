"""JSON and Markdown."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import reports

from gradscope.renderers.json import JsonRenderer
from gradscope.renderers.markdown import MarkdownRenderer
from gradscope.report import load_report

WATCHED = ("watched", "watched_healthy", "watched_undecided")
EXAMPLES = ("sick", "healthy", "undecided", "interrupted", "many_sites", "odd_names", "with_nan", *WATCHED)


@pytest.mark.parametrize("name", EXAMPLES)
@pytest.mark.parametrize("ascii_only", [False, True])
def test_json_reads_back(name: str, ascii_only: bool, tmp_path: Path) -> None:
    report = getattr(reports, name)()
    text = JsonRenderer(ascii_only=ascii_only).render(report)
    file = tmp_path / "report.json"
    file.write_text(text, encoding="utf-8")
    assert load_report(file).to_json() == report.to_json()
    assert json.loads(text) == json.loads(report.to_json())
    assert text.isascii() or not ascii_only


def test_json_escapes_beyond_the_basic_plane() -> None:
    text = JsonRenderer(ascii_only=True).render(reports.sick(recipe="\U0001f642"))
    assert json.loads(text)["recipe"] == "\U0001f642"


@pytest.mark.parametrize("name", EXAMPLES)
def test_markdown_tables_have_as_many_cells_in_every_row(name: str) -> None:
    text = MarkdownRenderer().render(getattr(reports, name)())
    for block in text.split("\n\n"):
        if block.startswith("|"):
            counts = {len(re.split(r"(?<!\\)\|", line)) for line in block.split("\n")}
            assert len(counts) == 1
    assert text.count("\n# ") == 0
    assert text.startswith("# ")


def test_markdown_says_what_the_console_says() -> None:
    report = reports.sick()
    text = MarkdownRenderer().render(report).replace("\\", "")
    assert "# SICK: output-collapse at 3.relu (origin), in 5 of 5 seeds, from step 0" in text
    assert "**Fix:** batchnorm-last cures it" in text
    for finding in report.findings:
        assert finding.rule in text
    for fix in report.fixes:
        assert f"| {fix.fix} | {fix.mean:.2f} | {fix.effect:+.2f} |" in text


@pytest.mark.parametrize("name", WATCHED)
def test_markdown_of_a_watched_loop_tells_of_nothing_that_it_does_not_have(name: str) -> None:
    text = MarkdownRenderer().render(getattr(reports, name)()).replace("\\", "")
    for word in ("control", "test samples", "seed", "no fix", "Published", "nan", "None"):
        assert word not in text, word
    assert "* setting: ResidualNet; " in text
    assert "* coverage: " in text


def test_markdown_lists_each_note_and_what_was_not_seen() -> None:
    text = MarkdownRenderer().render(reports.watched_healthy()).replace("\\", "")
    assert (
        "not seen: scaled_dot_product_attention at blocks.0.attn, blocks.1.attn, blocks.2.attn and 1 more, decoder (lstm)"
        in text
    )
    assert "* note: trainable parameters that no watched optimizer holds: head.weight, head.bias" in text
    assert "| gate | encoder.blocks.0.relu@model.py:131#2 | - | no gradient seen |" in text


def test_markdown_reads_no_name_as_markup() -> None:
    text = MarkdownRenderer().render(reports.odd_names())
    assert not re.search(r"(?<!\\)<b>", text)
    assert r"a\|b\`c\<b\>\_d\_" in text


def test_renderers_import_no_torch_and_json_no_rich() -> None:
    code = (
        "import sys; from gradscope.renderers import load_renderer; load_renderer('json'); assert 'rich' not in sys.modules;"
        "load_renderer('text'); import gradscope.renderers.tensorboard, gradscope.renderers.markdown;"
        "assert 'torch' not in sys.modules and 'tensorflow' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
