"""The console's report: golden texts (renew with GRADSCOPE_GOLDEN=renew) and what must hold whatever they say."""

from __future__ import annotations

import io
import os
import re
import sys
from pathlib import Path

import pytest
import reports
from rich.cells import cell_len
from rich.console import Console

from gradscope.cause_text import untested
from gradscope.renderers import load_renderer
from gradscope.renderers.console import ConsoleRenderer, print_report, stdout_console
from gradscope.renderers.console_waterfall import chosen
from gradscope.renderers.picture import ASCII, caption, lost_at, telling, whisker
from gradscope.renderers.verdict import headline
from gradscope.renderers.wording import place, verdict_word
from gradscope.report import Expectation, Report, Waterfall

GOLDEN = Path(__file__).parent / "golden"
RUN = Path("runs/sigmoid-relu/20261121T101010Z-ab12")
WATCHED = ("watched", "watched_healthy", "watched_undecided")
EXAMPLES = ("sick", "healthy", "undecided", "interrupted", "many_sites", "odd_names", "with_nan", *WATCHED)
ESCAPE = "\x1b"


def squeezed(text: str) -> str:
    """Text without blanks: wrapping does not count."""
    return "".join(text.split())


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("name", EXAMPLES)
def test_golden_text(name: str, width: int) -> None:
    text = ConsoleRenderer(width, run_folder=RUN).render(getattr(reports, name)())
    golden = GOLDEN / f"{name}-{width}.txt"
    if os.environ.get("GRADSCOPE_GOLDEN") == "renew":
        golden.parent.mkdir(exist_ok=True)
        golden.write_text(text, encoding="utf-8")
    assert text == golden.read_text(encoding="utf-8")


@pytest.mark.parametrize("width", [40, 80, 100, 120, 200])
@pytest.mark.parametrize("name", EXAMPLES)
def test_nothing_is_wider_than_the_terminal_but_the_commands(name: str, width: int) -> None:
    text = ConsoleRenderer(width, run_folder=RUN).render(getattr(reports, name)())
    report, _, commands = text.partition("GO ON WITH\n")
    assert all(cell_len(line) <= width for line in report.split("\n"))
    assert all(line == line.rstrip() for line in text.split("\n"))
    assert f"  gradscope report {RUN}\n" in commands


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("name", ["sick", "healthy", "interrupted", "with_nan"])
def test_every_finding_and_every_fix_appears(name: str, width: int) -> None:
    report: Report = getattr(reports, name)()
    text = ConsoleRenderer(width).render(report)
    flat = squeezed(text)
    assert text.startswith(report.verdict.upper())
    for finding in report.findings:
        assert f"{finding.code} {place(finding)}" in text or (
            finding.role == "victim" and finding.site is not None and finding.site in text
        )
        assert finding.role == "victim" or squeezed(finding.text) in flat
    for fix in report.fixes:
        assert f"  {fix.fix} " in text
        assert verdict_word(fix) in text
        if fix.interval:
            assert f"[{fix.interval[0]:.2f}, {fix.interval[1]:.2f}]" in text
    for hypothesis in report.hypotheses:
        assert f"{'HOLDS' if hypothesis.holds else 'DOES NOT HOLD'}  {hypothesis.name}" in text
    assert "  control" in text


def test_the_verdict_comes_first_and_names_the_worst_origin_and_the_fix() -> None:
    lines = ConsoleRenderer(120).render(reports.sick()).split("\n")
    assert lines[0] == "SICK  output-collapse at 3.relu (origin), in 5 of 5 seeds, from step 0"
    assert lines[1] == (
        "FIX   batchnorm-last cures it: accuracy 0.31 -> 0.98, +0.67 [0.32, 0.79], better in 5 of 5 seeds, cost 1.08"
    )


def test_origins_stand_before_their_victims_which_share_a_line_by_rule() -> None:
    text = ConsoleRenderer(120).render(reports.sick())
    origin, victim = text.index("ORIGIN"), text.index("What follows from it")
    assert origin < victim < text.index("GS105 vanishing-gradient at 1.relu, 2.sigmoid")


def test_healthy_says_what_was_not_looked_at() -> None:
    healthy = reports.healthy(coverage=reports.Coverage(sites_seen=2, sites_unseen=["head"]))
    assert "not looked at: head" in ConsoleRenderer(120).render(healthy).split("\n")[0]


def test_a_recommended_fix_that_leaves_a_finding_helps_but_does_not_cure() -> None:
    text = ConsoleRenderer(120).render(reports.sick(recommended="batchnorm-all"))
    assert "batchnorm-all helps: accuracy 0.31 -> 0.97" in text
    assert "common-mode remains" in text


def test_expectation_is_stated() -> None:
    met = reports.sick(expectation=Expectation(expected=["output-collapse"], met=True))
    unmet = reports.sick(expectation=Expectation(expected=["healthy"], met=False))
    assert "\nAS EXPECTED  the recipe expects output-collapse" in ConsoleRenderer(120).render(met)
    assert "\nNOT AS EXPECTED  the recipe expects healthy" in ConsoleRenderer(120).render(unmet)


def test_small_effects_get_more_decimals() -> None:
    control = [0.981, 0.984, 0.982]
    small = reports.healthy(fixes=[reports.fix("reseed", [0.985, 0.98, 0.984], control, (-0.011, 0.012))])
    assert "[-0.011, 0.012]" in ConsoleRenderer(120).render(small)


def test_names_that_look_like_markup_are_printed_as_they_are() -> None:
    text = ConsoleRenderer(120).render(reports.odd_names())
    assert "output-collapse at [bold]x[/bold]" in text
    assert "a|b`c<b>_d_" in text


def test_control_sequences_in_names_do_not_reach_the_terminal() -> None:
    text = ConsoleRenderer(120).render(reports.odd_names())
    assert ESCAPE not in text
    assert "?[31mred" in text


def test_a_picture_of_many_sites_fits_a_screen() -> None:
    text = ConsoleRenderer(80).render(reports.many_sites())
    picture = text[text.index("step 0:") : text.index("step 500:")].split("\n")
    assert len(picture) <= 36
    assert "not shown" in text
    assert "blocks.199.mlp.act" in text
    assert "and 187 more" in text


def test_a_folded_picture_keeps_the_stage_that_stands_out() -> None:
    passes = [0.9] * 99
    passes[41] = 1e-6
    found = reports.waterfall(0, list(passes), tuple(str(i) for i in range(50)))
    assert 41 in telling([found])
    assert {0, 98} <= set(telling([found]))
    assert lost_at(found) == 41


@pytest.mark.parametrize(
    ("passes", "lost", "words"),
    [
        ([0.9, 0.9, 0.0, None, None], 2, "no gradient reaches the input; lost at gate 2.sigmoid"),
        ([0.9, 0.9, 1e-5, 0.9, 0.9], 2, "lost at gate 2.sigmoid"),
        ([0.3, 0.3, 0.3, 0.3, 0.3], None, "it fades little by little over 5 stages"),
        ([0.9, 0.9, 0.9, 0.9, 0.9], None, "0.59 of the gradient is left at the input"),
        ([None] * 5, None, "no gradient was seen"),
        ([0.9, 0.9, None, None, None], None, "0.81 of the gradient is left at 2.sigmoid -> 3.relu; nearer to the input none"),
    ],
)
def test_where_the_gradient_is_lost(passes: list[float | None], lost: int | None, words: str) -> None:
    found = reports.waterfall(0, passes)
    assert lost_at(found) == lost
    assert words in caption(found)


def branched(left: list[float | None]) -> Waterfall:
    """A waterfall as it is measured where branches part."""
    stages = reports.waterfall(0, [0.5] * 5).stages
    return Waterfall(step=0, stages=[s.model_copy(update={"remaining": value}) for s, value in zip(stages, left, strict=True)])


@pytest.mark.parametrize(
    ("left", "lost", "words"),
    [
        ([0.9, 0.0, 0.8, 0.7, 0.6], None, "0.6 of the gradient is left at the input"),  # shut in a branch
        ([0.9, 0.0, 0.8, 0.0, 0.0], 3, "no gradient reaches the input; lost at weight 1.relu -> 2.sigmoid"),
        ([0.9, 1e-6, 0.8, 1e-5, 1e-6], 3, "1e-06 of the gradient is left at the input; lost at weight"),
        ([0.9, 0.0, None, None, 0.5], None, "0.5 of the gradient is left at the input"),
    ],
)
def test_a_gate_that_is_shut_in_one_branch_is_not_where_the_gradient_is_lost(
    left: list[float | None], lost: int | None, words: str
) -> None:
    assert lost_at(branched(left)) == lost
    assert words in caption(branched(left))


def test_where_branches_may_lead_around_it_the_last_stage_is_named() -> None:
    found = branched([0.9, 0.9, 0.9, 0.9, 0.0])
    assert caption(found, at_input=False) == "no gradient reaches 1.relu; it is lost there"
    assert caption(branched([0.9] * 5), at_input=False) == "0.9 of the gradient is left at 1.relu"


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("name", WATCHED)
def test_a_watched_loop_is_told_of_nothing_that_it_does_not_have(name: str, width: int) -> None:
    text = ConsoleRenderer(width, run_folder=RUN).render(getattr(reports, name)())
    for word in ("control", "test samples", "seed", "no fix", "diagnose", "PUBLISHED", "nan", "None"):
        assert word not in text, word
    assert "ResidualNet; " in text
    assert f"tensorboard --logdir {RUN}\n" in text


def test_a_sick_watched_loop_gets_what_the_rule_s_page_names() -> None:
    lines = ConsoleRenderer(120).render(reports.watched()).split("\n")
    assert lines[0] == "SICK  dead-layer at encoder.blocks.0.relu@model.py:131#2 (origin), from step 0"
    assert lines[1] == "FIX   to try: batchnorm-all, a lower learning rate, kaiming-normal initialisation, leaky_relu"
    assert "FIX" not in ConsoleRenderer(120).render(reports.watched_healthy())


def test_a_rule_without_a_page_is_not_explained() -> None:
    own = reports.finding("own-rule", "XY001")
    report = reports.watched().model_copy(update={"findings": [own]})
    text = ConsoleRenderer(120).render(report)
    assert "FIX" not in text
    assert text.endswith("  gradscope explain\n")


@pytest.mark.parametrize("width", [80, 100, 120, 140, 200])
def test_long_names_of_sites_stay_apart_in_the_picture(width: int) -> None:
    text = ConsoleRenderer(width).render(reports.watched_healthy())
    picture = text[text.index("passes") :].split("\n\n")[0].split("\n")[2:]
    assert len(picture) == 16
    gates = [line for line in picture if line.strip().startswith("gate")]
    names = [line.split()[1] for line in gates]
    assert len(set(names)) == len(names) == 8
    assert len({cell_len(line[: line.index(name)]) for line, name in zip(gates, names, strict=True)}) == 1


def test_warnings_are_not_hidden_behind_a_healthy_verdict() -> None:
    report = reports.healthy(findings=[reports.finding(severity="warning"), reports.finding(severity="note")])
    assert "over 900 steps; 1 warning below\n" in ConsoleRenderer(120).render(report)


def test_a_step_without_gradients_is_not_chosen() -> None:
    without = branched([None] * 5).model_copy(update={"step": 9})
    assert [w.step for w in chosen([*reports.sick().waterfalls[:2], without])] == [0, 10]
    assert [w.step for w in chosen([without])] == [9]


def test_first_and_last_recorded_step_are_shown() -> None:
    assert [w.step for w in chosen(reports.sick().waterfalls)] == [0, 1120]
    assert chosen([]) == []


def test_a_whisker_stands_where_its_numbers_are() -> None:
    fix = reports.fix("x", [0.6], [0.1], (0.0, 1.0))
    assert whisker(fix, (-1.0, 1.0), 21, ASCII) == "          |----o----]"
    assert whisker(None, (-1.0, 1.0), 21, ASCII).strip() == "|"


def test_color_is_never_the_only_carrier() -> None:
    report = reports.sick()
    colored = ConsoleRenderer(120, color=True).render(report)
    assert ESCAPE in colored
    bare = "\n".join(line.rstrip() for line in re.sub(ESCAPE + r"\[[0-9;]*m", "", colored).split("\n"))
    assert bare == ConsoleRenderer(120).render(report)


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252"])
@pytest.mark.parametrize("name", EXAMPLES)
def test_a_terminal_without_unicode(name: str, encoding: str) -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding=encoding, write_through=True)
    print_report(getattr(reports, name)(), console=Console(file=stream, width=80), run_folder=RUN)
    text = raw.getvalue().decode(encoding)
    assert text.startswith(("SICK", "HEALTHY", "UNDECIDED"))
    if name == "sick":
        assert "########" in text
        assert "<- lost here" in text


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_no_color_and_no_terminal_give_no_escape_codes(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")

    def printed(stream: io.StringIO) -> str:
        monkeypatch.setattr(sys, "stdout", stream)
        print_report(reports.sick(), console=stdout_console())
        return stream.getvalue()

    assert ESCAPE in printed(Terminal())
    assert ESCAPE not in printed(io.StringIO())
    monkeypatch.setenv("NO_COLOR", "1")
    assert ESCAPE not in printed(Terminal())


def test_formats_name_renderers() -> None:
    assert load_renderer("text") is ConsoleRenderer


def test_the_placebo_stands_apart_from_the_fixes_with_its_verdict() -> None:
    nothing = reports.sick().fixes[-1].model_copy(update={"fix": "placebo", "summary": "next to nothing"})
    text = ConsoleRenderer(120).render(reports.sick(placebo=nothing))
    (line,) = [line for line in text.split("\n") if "placebo" in line]
    assert line == "  placebo: +0.01 [-0.36, 0.40], no effect; next to nothing"
    assert "placebo" not in ConsoleRenderer(120).render(reports.sick())


def test_each_interval_s_confidence_is_told_where_they_differ() -> None:
    fixes = reports.sick().fixes
    text = ConsoleRenderer(200).render(reports.sick(fixes=[fixes[0].model_copy(update={"confidence": 0.9875}), *fixes[1:]]))
    assert "intervals of the effect: 98.75 % for batchnorm-last, 95 % for batchnorm-all, reseed: " in text
    assert "95 % interval of the effect: " in ConsoleRenderer(200).render(reports.sick())


def test_an_interruption_behind_the_training_is_not_said_to_have_cut_it_short() -> None:
    setting = reports.sick().setting.model_copy(update={"steps": 900, "planned_steps": 900})
    after = reports.sick(interrupted=True, setting=setting)
    assert headline(after).endswith("; interrupted after the control's training")
    search = after.model_copy(update={"findings": [untested(reports.finding(), "interrupted")]})
    assert headline(search).endswith("; interrupted in the search for causes")


def test_a_fix_of_fewer_seeds_than_the_control_has_the_control_s_mean_in_them() -> None:
    control = reports.sick().control
    assert control is not None
    more = control.model_copy(update={"values": [*control.values, 0.9, 0.9, 0.9], "mean": 0.53})
    fixes = [fix.model_copy(update={"control_mean": 0.312, "better_in": 5}) for fix in reports.sick().fixes]
    text = ConsoleRenderer(200).render(reports.sick(control=more, fixes=fixes))
    assert text.count("better in 5 of 5 seeds; the control's mean in these is 0.31") == 2, "of reseed the seeds are others"
    assert "the control's mean in these" not in ConsoleRenderer(200).render(reports.sick(fixes=fixes))


def test_a_fix_that_is_proved_to_be_better_and_leaves_what_was_found_is_no_cure() -> None:
    first = reports.sick().fixes[0].model_copy(update={"verdict": "inconclusive", "cleared": []})
    assert verdict_word(first) == "no cure"
    assert verdict_word(first.model_copy(update={"interval": (-0.1, 0.79)})) == "not proven"
    assert verdict_word(first.model_copy(update={"interval": None})) == "not proven"


def test_names_of_fixes_are_whole_where_there_is_room() -> None:
    fixes = [fix.model_copy(update={"fix": "drop-output-activation"}) for fix in reports.sick().fixes[:1]]
    rows = {width: ConsoleRenderer(width).render(reports.sick(fixes=fixes, recommended=None)) for width in (80, 120)}
    assert re.search(r"\n  drop-output-activation +0\.98", rows[120])
    assert re.search(r"\n  drop-output-acti +0\.98", rows[80])


def test_a_gradient_that_grew_on_its_way_is_not_said_to_be_left() -> None:
    grown = reports.waterfall(0, [0.05, 25.0, 0.05, 34.0, 1.2])
    assert caption(grown).startswith("at the input the gradient is 2.5 times that at the loss")
    assert caption(reports.waterfall(0, [0.9, 25.0, 0.9, 34.0, 0.01])).endswith(
        "6.9 times that at the loss; on the way most is lost at gate 1.relu"
    )


def test_what_to_write_in_a_loop_of_one_s_own_stands_below_the_fix() -> None:
    lines = (
        ConsoleRenderer(120)
        .render(reports.sick(hint="for group in optimizer.param_groups:\n    group['lr'] /= 10"))
        .split("\n")
    )
    place = lines.index("CODE  in a loop of your own")
    assert lines[1].startswith("FIX")
    assert lines[place + 1 : place + 3] == ["      for group in optimizer.param_groups:", "          group['lr'] /= 10"]
