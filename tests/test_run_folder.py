"""The folder of a run."""

import os
import re
import stat

import pytest

from gradscope.errors import WriteError
from gradscope.run_folder import make_run_folder, write_text


def test_the_folder_is_named_by_recipe_time_and_a_short_id(tmp_path):
    folder = make_run_folder(tmp_path / "runs", "sigmoid-relu")
    assert folder.is_dir()
    assert folder.parent == tmp_path / "runs" / "sigmoid-relu"
    assert re.fullmatch(r"\d{8}T\d{6}Z-[0-9a-f]{6}", folder.name)


def test_two_runs_in_one_second_have_two_folders(tmp_path):
    assert len({make_run_folder(tmp_path, "a") for _ in range(20)}) == 20


def test_folders_that_cannot_be_made_are_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(WriteError, match="cannot be created: Not a directory; name another folder with --out"):
        make_run_folder(tmp_path / "file", "a")
    with pytest.raises(WriteError, match="cannot be created"):
        make_run_folder(tmp_path, "a" * 300)


def test_text_replaces_text_in_one_step(tmp_path, monkeypatch):
    path = tmp_path / "a.yaml"
    write_text(path, "größe: 1\n")
    write_text(path, "größe: 2\n")
    assert path.read_text(encoding="utf-8") == "größe: 2\n"
    assert list(tmp_path.iterdir()) == [path]

    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("gradscope.run_folder.os.replace", full)
    with pytest.raises(WriteError, match="No space left on device; free some space or name another folder with --out"):
        write_text(path, "größe: 3\n")
    assert path.read_text(encoding="utf-8") == "größe: 2\n"


def test_a_full_disk_leaves_no_part_of_a_file(tmp_path, monkeypatch):
    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("gradscope.run_folder.os.replace", full)
    with pytest.raises(WriteError):
        write_text(tmp_path / "a.yaml", "a: 1\n")
    assert list(tmp_path.iterdir()) == []


def test_a_pipe_is_written_to_and_a_link_leads_to_its_file(tmp_path):
    pipe, link, behind = tmp_path / "pipe", tmp_path / "link", tmp_path / "behind"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    write_text(pipe, "text\n")
    assert os.read(reader, 100) == b"text\n"
    os.close(reader)
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    behind.write_text("old\n")
    link.symlink_to(behind)
    write_text(link, "new\n")
    assert link.is_symlink()
    assert behind.read_text() == "new\n"
