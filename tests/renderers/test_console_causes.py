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
    assert text.count("No loss: the gradient did not come back, so the change was not followed up") == 1


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
