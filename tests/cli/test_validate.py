import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from gradscope.cli.schema import schema
from gradscope.cli.validate import validate
from gradscope.recipe_schema import recipe_schema

ROOT = Path(__file__).parents[2]
GOOD = "data: digits\nstack: {hidden: [4], activations: [relu, tanh]}\n"


def run(*paths):
    result = CliRunner().invoke(validate, [str(path) for path in paths], standalone_mode=False)
    assert result.exception is None
    return result.return_value, result.stdout, result.stderr


def test_good_files_on_stdout_all_faults_of_bad_files_on_stderr(tmp_path):
    good, bad = tmp_path / "good.yaml", tmp_path / "bad.yaml"
    good.write_text(GOOD)
    bad.write_text(GOOD.replace("relu", "rleu") + "seed: 1\n")
    code, out, err = run(bad, good)
    assert code == 2
    assert out == f"{good}: ok\n"
    lines = err.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith(f"{bad}:2:36: stack.activations[0]: ")
    assert lines[1].startswith(f"{bad}:3:1: seed: ")
    assert run(good) == (0, f"{good}: ok\n", "")


def test_a_folder_stands_for_the_recipes_below_it(tmp_path):
    (tmp_path / "deep").mkdir()
    for name in ("b.yaml", "a.yml", "deep/c.yaml"):
        (tmp_path / name).write_text(GOOD)
    (tmp_path / "notes.txt").write_text("no recipe")
    code, out, _ = run(tmp_path)
    assert code == 0
    assert sorted(out.splitlines()) == [f"{tmp_path / name}: ok" for name in ("a.yml", "b.yaml", "deep/c.yaml")]
    (tmp_path / "empty").mkdir()
    code, out, err = run(tmp_path / "empty")
    assert (code, out) == (2, "")
    assert "expected a folder with recipes (*.yaml, *.yml), got none in it" in err


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"\x80\x04\x95", ":1:1: recipe: expected text in UTF-8, got byte 0x80"),
        (b"data: digits\nname: \xff\n", ":2:1: recipe: expected text in UTF-8, got byte 0xff"),
        (b"PK\x03\x04\x00\x00", ": expected a text file, got a binary one"),
        ("data: digits".encode("utf-16"), ": expected a text file, got a binary one or UTF-16; save it as UTF-8"),
        (b"", ":1:1: recipe: expected a mapping with data and stack, got an empty file"),
        (b"#" * 1_000_001, ": expected a recipe of at most 1 MB, got 1.0 MB"),
    ],
)
def test_files_that_are_no_recipe(tmp_path, content, words):
    file = tmp_path / "r.yaml"
    file.write_bytes(content)
    code, _, err = run(file)
    assert code == 2
    assert err.startswith(f"{file}{words}")
    assert err.count("\n") == 1


def test_a_byte_order_mark_and_windows_line_ends_are_accepted(tmp_path):
    file = tmp_path / "r.yaml"
    file.write_bytes(b"\xef\xbb\xbf" + GOOD.replace("\n", "\r\n").encode())
    assert run(file)[0] == 0


def test_a_huge_file_is_refused_without_being_read(tmp_path):
    file = tmp_path / "r.yaml"
    with file.open("wb") as handle:
        handle.truncate(50_000_000)
    start = time.perf_counter()
    code, _, err = run(file)
    assert time.perf_counter() - start < 1
    assert (code, err) == (2, f"{file}: expected a recipe of at most 1 MB, got 50.0 MB\n")


def test_missing_files_and_pipes(tmp_path):
    (tmp_path / "sigmoid_relu.yaml").write_text(GOOD)
    code, _, err = run(tmp_path / "sigmoid-relu.yaml")
    assert code == 2
    assert "expected a recipe file, got nothing of that name; did you mean" in err
    assert "sigmoid_relu.yaml" in err
    assert run("no/such/folder/a.yaml")[0] == 2
    os.mkfifo(tmp_path / "pipe.yaml")
    assert "expected a recipe file, got a device or pipe" in run(tmp_path / "pipe.yaml")[2]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission(tmp_path):
    file = tmp_path / "r.yaml"
    file.write_text(GOOD)
    file.chmod(0)
    assert run(file)[2] == f"{file}: cannot be read: Permission denied\n"


def test_an_unreadable_file_is_one_line(tmp_path, monkeypatch):
    file = tmp_path / "r.yaml"
    file.write_text(GOOD)

    def refuse(*args, **kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    assert run(file) == (2, "", f"{file}: cannot be read: Permission denied\n")


def test_the_committed_schema_is_current():
    result = CliRunner().invoke(schema, standalone_mode=False)
    assert result.return_value == 0
    committed = (ROOT / "recipe.schema.json").read_text()
    assert result.stdout == committed, "run `gradscope schema > recipe.schema.json`"


def test_the_schema_says_what_editors_need():
    content = recipe_schema()
    assert content["else"]["required"] == ["data"]
    assert content["additionalProperties"] is False
    assert set(content["properties"]) >= {
        "name",
        "data",
        "stack",
        "model",
        "training",
        "seeds",
        "watch",
        "fixes",
        "expect",
        "device",
    }
    assert content["properties"]["grid"]["properties"]["lr"]["items"] == {"$ref": "#/$defs/Training/properties/lr"}
    text = json.dumps(content)
    assert '"null"' not in text
    for word in ("leaky_relu", "negative_slope", "batchnorm-last", "kaiming-normal", "output-collapse", "bce-with-logits"):
        assert f'"{word}"' in text


def test_every_reference_of_the_schema_leads_somewhere():
    content = recipe_schema()
    references = set(re.findall(r'"\$ref": "#/([^"]+)"', json.dumps(content)))
    assert len(references) > 20
    for reference in references:
        found = content
        for key in reference.split("/"):
            found = found[key]
        assert found


@pytest.mark.parametrize("arguments", [["validate", "{file}"], ["schema"]])
def test_the_commands_import_no_torch(tmp_path, arguments):
    file = tmp_path / "r.yaml"
    file.write_text(GOOD)
    code = (
        "import sys; from gradscope.cli import main\n"
        "try: main()\n"
        "except SystemExit as stop: code = stop.code\n"
        "print('LOADED', code, sorted({'torch', 'numpy'} & set(sys.modules)))"
    )
    command = [sys.executable, "-c", code, *(argument.format(file=file) for argument in arguments)]
    result = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    assert result.stdout.splitlines()[-1] == "LOADED 0 []"


def test_the_exit_code_reaches_the_shell(tmp_path):
    file = tmp_path / "r.yaml"
    file.write_text("data: x\n")
    code = "from gradscope.cli import main; main()"
    result = subprocess.run([sys.executable, "-c", code, "validate", str(file)], capture_output=True, text=True, cwd=ROOT)
    assert result.returncode == 2
    assert "Traceback" not in result.stderr


def test_the_recipes_of_the_repository_are_good():
    recipes = sorted((ROOT / "recipes").rglob("*.yaml"))
    if not recipes:
        pytest.skip("no recipes yet")
    code, out, err = run(*recipes)
    assert (code, err) == (0, "")
    assert out.count(": ok") == len(recipes)


def test_a_sweep_says_how_much_it_is(tmp_path):
    file = tmp_path / "r.yaml"
    file.write_text(GOOD + "grid: {lr: [0.1, 0.01], stack.norm: [none, batchnorm-all, layernorm-all]}\nseeds: 2\n")
    assert run(file) == (0, f"{file}: ok, a sweep of 6 cells x 2 seeds\n", "")
    file.write_text(GOOD + "grid: {lr: [0.1, 0.01], sample: 1}\nseeds: [7]\n")
    assert run(file) == (0, f"{file}: ok, a sweep of 1 cell x 1 seed\n", "")
