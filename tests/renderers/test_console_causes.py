"""What interventions showed, on the terminal and in Markdown."""

from reports import finding, sick
from test_cause_text import found

from gradscope.cause_text import cause_line, untested
from gradscope.renderers.console import ConsoleRenderer
from gradscope.renderers.markdown import MarkdownRenderer


def report_with_causes():
    first = finding(tested=found(), cause=cause_line(found()))
    return sick(findings=[first, first.model_copy(update={"rule": "common-mode", "code": "GS108"})])


def test_the_console_shows_each_change_once_with_what_came_back():
    text = ConsoleRenderer(100).render(report_with_causes())
    assert text.count("Tried at 3.relu for 800 steps from step 0, 2 seeds (1, 2):") == 1
    line = next(line for line in text.splitlines() if line.strip().startswith("centring z at 3.relu") and "both" in line)
    assert line.split() == ["centring", "z", "at", "3.relu", "95", "%", "0.45", "2", "of", "2", "seeds", "both", "come", "back"]
    fresh = next(line for line in text.splitlines() if line.strip().startswith("fresh weights"))
    assert fresh.split() == ["fresh", "weights", "at", "3.relu", "10", "%"]
    assert "Read from the records: z is alike" in text
    flowing = " ".join(text.split())
    assert flowing.count("Cause: common-mode, by intervention: see below Evidence") == 1
    assert flowing.count("No loss: the gradient did not come back, so the change was not followed up") == 1
    assert "Of several that work" not in flowing


def test_where_several_changes_work_it_is_said_which_one_names_the_cause():
    for kind, is_said in (("open gate", True), ("centre z", False)):  # the same change at more sites is no other
        several = found()
        several.interventions.append(several.interventions[1].model_copy(update={"kind": kind}))
        text = ConsoleRenderer(100).render(sick(findings=[finding(tested=several, cause=cause_line(several))]))
        said = "Of several that work, the one that undoes least beside the failure names the cause"
        assert (said in " ".join(text.split())) == is_said


def test_a_cause_that_is_not_established_is_said_so_once():
    nothing = found(cause=None, reason="no change brought the gradient back")
    text = ConsoleRenderer(100).render(sick(findings=[finding(tested=nothing, cause=cause_line(nothing))]))
    assert "Cause: not established by intervention: no change brought the gradient back. Suspected: z is alike" in " ".join(
        text.split()
    )


def test_markdown_has_the_same_numbers():
    text = MarkdownRenderer().render(report_with_causes())
    assert text.count("### Cause at 3.relu: common-mode") == 1
    assert "| centring z at 3.relu | 95 % | 0.45 | 2 of 2 | both come back |" in text
    assert "| fresh weights at 3.relu | 10 % |  |  |  |" in text


def test_a_finding_that_was_not_tested_says_why():
    text = ConsoleRenderer(100).render(sick(findings=[untested(finding(), "only a stack can be changed")]))
    assert "not tested by intervention: only a stack can be changed" in text
    assert "Tried at" not in text


def test_a_saved_report_keeps_its_causes():
    report = report_with_causes()
    again = type(report).model_validate_json(report.to_json())
    assert again.findings[0].tested.interventions[1].works
    assert ConsoleRenderer(100).render(again) == ConsoleRenderer(100).render(report)
