"""The journal of a sweep: nothing finished is lost, whatever becomes of its last line."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from command_line import environment
from hypothesis import given
from hypothesis import strategies as st

from gradscope.cell_run import CellRun, Epoch
from gradscope.errors import TraceError, WriteError
from gradscope.journal import NAME, Journal, line_of, read_journal

CONDITIONS = {"device": "cpu", "room_bytes": 100}


def run_of(key: str, seed: int = 1, value: float = 0.5) -> CellRun:
    epoch = Epoch(step=3, metric=value, test_loss=math.pi, train_loss=1e-30, nonpositive_weight_frac=[0.1, 0.2])
    return CellRun(
        key=key, seed=seed, metric="accuracy", value=value, chance=0.1, test_samples=9, steps=3, verdict="healthy",
        epochs=[epoch], findings=[], start={"1.relu": {"act_rms": 0.3}},
    )  # fmt: skip


def opened(folder: Path, conditions: Mapping[str, object] = CONDITIONS) -> Journal:
    journal = Journal(folder)
    try:
        journal.begin(conditions)
    except BaseException:
        journal.close()
        raise
    return journal


def written(folder: Path, *keys: str) -> Path:
    """A journal with a population of one network for each key."""
    with opened(folder) as journal:
        for i, key in enumerate(keys):
            journal.add(i, [run_of(key)], 1.5)
    return folder / NAME


def test_what_was_added_is_read_again(tmp_path: Path) -> None:
    with opened(tmp_path) as journal:
        journal.add(0, [run_of("a", 1, 0.25), run_of("b", 2, 1 / 3)], 2.0)
    found = read_journal(tmp_path / NAME)
    assert found.runs == {"a": run_of("a", 1, 0.25), "b": run_of("b", 2, 1 / 3)}
    assert (found.heads, found.seconds, found.damaged) == ([CONDITIONS], {"a": 1.0, "b": 1.0}, ())


def test_every_line_is_json(tmp_path: Path) -> None:
    lines = [json.loads(line) for line in written(tmp_path, "a", "b").read_text().splitlines()]
    assert [list(line) for line in lines] == [["crc32", "entry"]] * 3
    assert lines[2]["entry"]["runs"][0]["key"] == "b"


def test_what_is_added_comes_back_as_it_will_be_read(tmp_path: Path) -> None:
    """Else the table of a resumed sweep differs where a loss is infinite, which JSON cannot say."""
    with opened(tmp_path) as journal:
        (back,) = journal.add(0, [run_of("a", value=math.inf)], 1.0)
    assert math.isnan(back.value)
    assert math.isnan(read_journal(tmp_path / NAME).runs["a"].value)


def test_it_goes_on_where_it_was(tmp_path: Path) -> None:
    path = written(tmp_path, "a")
    head = path.read_bytes().splitlines()[0]
    with opened(tmp_path) as journal:
        assert set(journal.found.runs) == {"a"}
        journal.add(1, [run_of("b")], 1.0)
    assert set(read_journal(path).runs) == {"a", "b"}
    assert path.read_bytes().count(head) == 1


def test_under_which_conditions_each_network_was_trained_is_kept(tmp_path: Path) -> None:
    path = written(tmp_path, "a")
    on_gpu = {"device": "cuda", "room_bytes": 7}
    with opened(tmp_path, on_gpu) as journal:
        journal.add(1, [run_of("b"), run_of("a")], 1.0)
    with opened(tmp_path) as journal:
        journal.add(2, [run_of("c")], 1.0)
    found = read_journal(path)
    assert found.heads == [CONDITIONS, on_gpu, CONDITIONS]
    assert found.conditions == {"a": CONDITIONS, "b": on_gpu, "c": CONDITIONS}


@given(cut=st.integers(0, 10_000))
def test_cut_anywhere_it_keeps_all_whole_lines_and_takes_more(cut: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("cut")
    path = written(folder, "a", "b")
    whole = path.read_bytes()
    path.write_bytes(kept := whole[: cut % len(whole)])
    ends = [i for i, byte in enumerate(whole) if byte == ord("\n")]
    complete = [key for key, end in zip("ab", ends[1:], strict=True) if len(kept) >= end]
    with opened(folder) as journal:
        assert list(journal.found.runs) == complete
        journal.add(2, [run_of("c")], 1.0)
    found = read_journal(path)
    assert list(found.runs) == [*complete, "c"]
    assert (found.heads, found.damaged) == ([CONDITIONS], ())


def test_a_damaged_line_is_named_and_costs_only_itself(tmp_path: Path) -> None:
    path = written(tmp_path, "a", "b", "c")
    lines = path.read_bytes().splitlines(keepends=True)
    lines[2] = lines[2].replace(b'"value":0.5', b'"value":0.9')
    path.write_bytes(b"".join(lines))
    found = read_journal(path)
    assert set(found.runs) == {"a", "c"}
    assert found.damaged == (3,)


def test_a_line_of_bytes_that_are_no_text_is_damaged(tmp_path: Path) -> None:
    path = written(tmp_path, "a")
    path.write_bytes(path.read_bytes() + b"\xff\xfe}\n")
    assert read_journal(path).damaged == (3,)


def test_of_networks_that_stand_twice_the_first_counts(tmp_path: Path) -> None:
    with opened(tmp_path) as journal:
        journal.add(0, [run_of("a", value=0.1)], 1.0)
        journal.add(0, [run_of("a", value=0.2)], 1.0)
    assert read_journal(tmp_path / NAME).runs["a"].value == 0.1


def test_an_absent_or_empty_file_holds_nothing(tmp_path: Path) -> None:
    assert read_journal(tmp_path / NAME).runs == {}
    (tmp_path / NAME).touch()
    assert read_journal(tmp_path / NAME).heads == []


def test_another_file_of_that_name_is_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / NAME).write_text("my diary\n")
    with pytest.raises(TraceError, match=r"journal\.jsonl: expected the journal of a sweep, got something else; name another"):
        opened(tmp_path)
    assert (tmp_path / NAME).read_text() == "my diary\n"


def test_a_newer_version_is_refused(tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(line_of('{"journal": 2}'))
    with pytest.raises(TraceError, match="expected a journal of version 1, got 2"):
        opened(tmp_path)


def test_two_sweeps_cannot_write_it_at_once(tmp_path: Path) -> None:
    with opened(tmp_path), pytest.raises(WriteError, match="another sweep is writing it; wait for its end"):
        opened(tmp_path)
    opened(tmp_path).close()  # the lock is gone with the first


def test_a_folder_that_cannot_be_made_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(WriteError, match=r"cannot be written: .*; name another folder with --out") as told:
        Journal(tmp_path / "file" / "below")
    assert "\n" not in str(told.value)


def test_a_full_disk_is_told_and_what_stands_there_stays(tmp_path: Path) -> None:
    """A limit on the size of files does what a full disk does: a write comes short, the next fails."""
    code = (
        "import resource, signal, sys; from pathlib import Path\n"
        "from test_journal import opened, run_of\n"
        "from gradscope.errors import WriteError\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "with opened(Path(sys.argv[1])) as journal:\n"
        "    journal.add(0, [run_of('a')], 1.0)\n"
        "    size = journal.path.stat().st_size\n"
        "    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 50, size + 50))\n"
        "    for key in 'bc':\n"
        "        try: journal.add(1, [run_of(key)], 1.0)\n"
        "        except WriteError as error: print(error)\n"
    )
    here = os.pathsep.join([str(Path(__file__).parent), environment()["PYTHONPATH"]])
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
        env=environment(PYTHONPATH=here),
    )
    short, failed = done.stdout.splitlines()
    assert "the disk took 50 of" in short
    assert "File too large; what stands there is kept: make room, and the same command goes on" in failed
    assert list(read_journal(tmp_path / NAME).runs) == ["a"]
    assert list(read_journal(written(tmp_path, "b")).runs) == ["a", "b"]
