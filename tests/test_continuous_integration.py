"""The page on continuous integration: its YAML names what there is, its picture shows what the command says."""

from __future__ import annotations

import html
import re
import runpy
from pathlib import Path

import yaml

from gradscope.recipe_file import parse_recipe

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "continuous-integration.md").read_text(encoding="utf-8")
BLOCKS = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)]
ACTION = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
HOOKS = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text(encoding="utf-8"))
PICTURE = runpy.run_path(str(ROOT / "scripts" / "make_check_picture.py"))


def test_the_workflows_use_inputs_that_the_action_has():
    workflows = [block for block in BLOCKS if "jobs" in block]
    steps = [step for block in workflows for job in block["jobs"].values() for step in job["steps"]]
    used = [step for step in steps if step["uses"].startswith("OWNER/gradscope@")]
    assert len(used) == len(workflows) == 2
    assert all(set(step["with"]) <= set(ACTION["inputs"]) for step in used)


def test_every_input_is_on_the_page():
    table = re.findall(r"^\| (`.*?) \|(.*?)\|", PAGE.partition("## The GitHub action")[2], re.MULTILINE)
    told = {name: default.strip().strip("`") for names, default in table for name in re.findall(r"`([\w-]+)`", names)}
    assert set(told) == set(ACTION["inputs"])
    assert all(told[name] == declared["default"] for name, declared in ACTION["inputs"].items() if name != "out")


def test_the_hooks_are_those_that_there_are():
    used = [hook["id"] for block in BLOCKS for repo in block.get("repos", []) for hook in repo["hooks"]]
    assert set(used) == {hook["id"] for hook in HOOKS}


def test_the_recipe_of_the_page_is_that_of_the_picture():
    (block,) = [block for block in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL) if block.startswith("data:")]
    assert block == PICTURE["BEFORE"]
    assert parse_recipe(block).expected == parse_recipe(PICTURE["AFTER"]).expected
    assert PICTURE["AFTER"] != block


def test_the_picture_shows_the_change_and_where_it_fails():
    text = html.unescape(re.sub(r"<[^>]*>", "\n", (ROOT / "docs" / "check.svg").read_text(encoding="utf-8")))
    shown = " ".join(text.replace("\u00a0", " ").split())
    assert "- activations: [relu, sigmoid, none]" in shown
    assert "+ activations: [relu, sigmoid, relu]" in shown
    assert "Check failure on line 4 in recipes/digits.yaml" in shown
    assert "GS103 output-collapse at 3.relu" in shown
    assert "To try: batchnorm-last" in shown


def test_the_picture_needs_nothing_from_the_network():
    text = (ROOT / "docs" / "check.svg").read_text(encoding="utf-8")
    assert not re.search(r"url\(\s*[\"']?https?:|href=[\"']https?:", text)


def test_annotations_read_back_as_they_were_written():
    from checks import collapsed, nasty

    from gradscope.renderers import check_github

    first, second, *_ = PICTURE["annotations"](check_github.render([collapsed(), nasty()], Path.cwd()))
    assert (first.level, first.file, first.line) == ("error", "recipes/net.yaml", 5)
    assert first.title == "GS103 output-collapse at 3.relu and 1 more"
    assert second.file == "recipes/größe, a:b 100%|x.yaml"
