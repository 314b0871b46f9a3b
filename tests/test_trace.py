"""The trace's file as an interface: read back whole, and nothing but TraceError for whatever is not a trace."""

import io
import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reports import trace as example

from gradscope.diagnosis import diagnose
from gradscope.errors import TraceError, WriteError
from gradscope.rules.examples import example as ordinary
from gradscope.trace import Site, Task, Trace


@pytest.fixture
def path(tmp_path):
    return tmp_path / "trace" / "control-1.npz"


def same(a, b):
    if isinstance(a, np.ndarray):
        return a.dtype == b.dtype and np.array_equal(a, b, equal_nan=a.dtype.kind == "f")
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, tuple):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    if isinstance(a, Site | Task | Trace):
        return all(same(getattr(a, f.name), getattr(b, f.name)) for f in fields(a))
    return type(a) is type(b) and (a == b or a != a and b != b)


@pytest.mark.parametrize(
    "trace",
    [
        example(),
        example(records=0),
        example(records=1),
        replace(example("batchnorm-last", 7), unseen=("encoder (LSTM)",), notes=("größe\n[b]",), schedule="every 10"),
        replace(example(), task=Task("r2", float("nan"), 3, 0, 9, 60)),
        replace(
            example(),
            sites=(),
            parameters=(),
            unit_statistics={name: () for name in example().unit_statistics},
            site_statistics={name: np.empty((6, 0), np.float32) for name in example().site_statistics},
            parameter_statistics={name: np.empty((6, 0), np.float32) for name in example().parameter_statistics},
        ),
    ],
    ids=["ordinary", "empty", "one record", "texts", "nan", "no sites"],
)
def test_what_is_saved_is_read_back(trace, path):
    trace.self_check()
    trace.save(path)
    assert same(Trace.load(path), trace)
    assert os.listdir(path.parent) == [path.name]


def test_saving_again_replaces_the_file(path):
    example(records=3).save(path)
    example(records=6).save(path)
    assert len(Trace.load(path).steps) == 6


def test_a_file_cut_off_anywhere_is_refused(path):
    example().save(path)
    whole = path.read_bytes()
    for length in [*range(0, 300, 7), *range(300, len(whole), 211), *range(len(whole) - 40, len(whole))]:
        path.write_bytes(whole[:length])
        with pytest.raises(TraceError, match="expected a trace file"):
            Trace.load(path)


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_a_damaged_file_is_read_whole_or_refused(tmp_path_factory, data):
    whole = saved()
    damaged = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.mktemp("damaged") / "a.npz"
    path.write_bytes(damaged)
    try:
        Trace.load(path).self_check()
    except TraceError as error:
        assert "\n" not in str(error)
        assert str(path) in str(error) or "trace control-1" in str(error)


def saved(trace=None):
    stream = io.BytesIO()
    np.savez_compressed(stream, **arrays(trace or example()))
    return stream.getvalue()


def arrays(trace):
    from gradscope.trace import _arrays

    return _arrays(trace)


def with_meta(**changes):
    held = arrays(example())
    meta = json.loads(str(held["meta"])) | changes
    return held | {"meta": np.array(json.dumps({k: v for k, v in meta.items() if v is not None}))}


def npy(array):
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def text_archive():
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("readme.txt", "not a trace")
    return stream.getvalue()


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", "expected a trace file"),
        (b"\x00" * 1000, "expected a trace file"),
        (b"PK\x03\x04", "expected a trace file"),
        (b"name: a recipe\n", "expected a trace file"),
        (npy(np.zeros(3)), "expected a trace file"),
        (npy(np.array(["gradscope-trace"])), "expected a trace file"),
        (text_archive(), "expected a gradscope trace"),
        ({"x": np.zeros(3)}, "expected a gradscope trace"),
        (with_meta(magic="other"), "something else"),
        (with_meta(magic=None), "something else"),
        (with_meta(version=2), "written in trace version 2, this gradscope reads up to 1; update gradscope"),
        (with_meta(version="new"), "expected a gradscope trace"),
        (with_meta(sites=[{"name": "a"}]), "expected a gradscope trace"),
        (with_meta(sites=["a"]), "expected a gradscope trace"),
        (with_meta(sites=3), "expected a gradscope trace"),
        (with_meta(task={"colour": "red"}), "expected a gradscope trace"),
        (with_meta(arm=None), "expected a gradscope trace"),
        (arrays(example()) | {"meta": np.array("[1, 2]")}, "expected a gradscope trace"),
        (arrays(example()) | {"meta": np.array("{")}, "expected a gradscope trace"),
        (arrays(example()) | {"meta": np.zeros(3)}, "expected a gradscope trace"),
        (arrays(example()) | {"loss": np.array([print, None], dtype=object)}, "expected a trace file"),
    ],
    ids=lambda value: None if not isinstance(value, str) else value[:30],
)
def test_what_is_no_trace_is_refused_in_one_line(content, text, path):
    path.parent.mkdir()
    if isinstance(content, dict):
        np.savez(path, **content)
    else:
        path.write_bytes(content)
    with pytest.raises(TraceError, match=text) as caught:
        Trace.load(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_pickle_is_never_run(path):
    class Trap:
        def __reduce__(self):
            return (os.mkdir, (str(path.parent / "sprung"),))

    path.parent.mkdir()
    np.savez(path, **arrays(example()) | {"steps": np.array([Trap()], dtype=object)})
    with pytest.raises(TraceError):
        Trace.load(path)
    assert not (path.parent / "sprung").exists()


def test_missing_file_and_folder_are_named(tmp_path):
    with pytest.raises(TraceError, match=r"none\.npz: cannot be read: No such file"):
        Trace.load(tmp_path / "none.npz")
    with pytest.raises(TraceError, match=r"cannot be read: Is a directory"):
        Trace.load(tmp_path)


ODD = {"number": np.array(1.0), "cube": np.zeros((2, 2, 2), np.float32), "texts": np.array(["a", "b"]), "missing": None}


@pytest.mark.parametrize("odd", ODD)
def test_an_array_that_is_unfit_is_refused(odd, path):
    path.parent.mkdir()
    whole = arrays(example())
    for name in whole:
        held = {key: value for key, value in (whole | {name: ODD[odd]}).items() if value is not None}
        np.savez(path, **held)
        if odd == "missing" and name.startswith(("site/", "parameter/")):
            assert name.split("/")[1] not in getattr(Trace.load(path), f"{name.split('/')[0]}_statistics")  # rules say so
            continue
        with pytest.raises(TraceError) as caught:
            Trace.load(path)
        assert "\n" not in str(caught.value), name


def changed(**changes):
    return replace(example(), **changes)


@pytest.mark.parametrize(
    "trace",
    [
        changed(samples=np.zeros(5, int)),
        changed(output_grad_norm=np.zeros(7)),
        changed(steps=np.array([0, 10, 10, 30, 40, 50])),
        changed(steps=np.array([0, 10, 20, 40, 30, 50])),
        changed(site_statistics=example().site_statistics | {"act_rms": np.zeros((6, 2))}),
        changed(site_statistics=example().site_statistics | {"act_rms": np.zeros((5, 3))}),
        changed(parameter_statistics=example().parameter_statistics | {"grad_rms": np.zeros((6, 3))}),
        changed(parameters=("a",)),
        changed(sites=example().sites[:2]),
        changed(sites=(*example().sites[:2], Site("3.relu", np.ones(3, bool), np.zeros(3, bool)))),
        changed(sites=(*example().sites[:2], Site("3.relu", np.ones(2, bool), np.zeros(3, bool)))),
        changed(unit_statistics=example().unit_statistics | {"closed_frac": (np.zeros((6, 4)),)}),
        changed(evaluation_metric=np.zeros(4)),
        changed(evaluation_loss=np.zeros(0)),
    ],
)
def test_inconsistent_traces_fail_the_self_check(trace):
    with pytest.raises(TraceError, match="^trace control-1: "):
        trace.self_check()


def run_python(code, *args, **more):
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, args)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}, **more,
    )  # fmt: skip


def test_a_full_disk_leaves_the_older_file(path):
    example(records=3).save(path)
    size = path.stat().st_size
    code = """
import resource, sys
from pathlib import Path
from reports import trace
from gradscope.errors import WriteError
big = trace(records=3000)
for limit in map(int, sys.argv[2:]):
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    try:
        big.save(Path(sys.argv[1]))
    except WriteError as error:
        print(error)
"""
    limits = [0, 1, 30, 1000, size, 20_000, 60_000]
    process = run_python(code, path, *limits)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")
    assert out.splitlines() == [f"{path}: cannot be written: File too large"] * len(limits)
    assert len(Trace.load(path).steps) == 3
    assert os.listdir(path.parent) == [path.name]


def test_a_folder_that_cannot_be_made_is_a_write_error(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(WriteError, match="cannot be written: "):
        example().save(tmp_path / "file" / "a.npz")
    (tmp_path / "a.npz").mkdir()
    with pytest.raises(WriteError, match="cannot be written: Is a directory"):
        example().save(tmp_path / "a.npz")


def test_a_kill_while_saving_leaves_a_readable_file(path):
    code = """
import sys
from pathlib import Path
from reports import trace
made = [trace(records=n) for n in (200, 900)]
path = Path(sys.argv[1])
while True:
    for one in made:
        one.save(path)
        print("saved", flush=True)
"""
    process = run_python(code, path)
    process.stdout.readline()
    process.kill()
    process.communicate()
    draw = np.random.default_rng(0)
    for _ in range(4):
        process = run_python(code, path)
        try:
            process.stdout.readline()
            end = time.monotonic() + 0.1 + draw.random() * 0.1
            while time.monotonic() < end:  # at every moment, not only at that of the kill
                assert len(Trace.load(path).steps) in (200, 900)
        finally:
            process.send_signal(signal.SIGKILL)
            process.communicate()
        assert len(Trace.load(path).steps) in (200, 900)


def test_the_trace_needs_no_torch():
    process = run_python("import sys, gradscope.trace; print('torch' in sys.modules)")
    assert process.communicate()[0].strip() == "False"


def test_what_later_versions_tell_more_is_read_back(path):
    found = replace(
        ordinary(network={"input_std": 7.0}),
        frozen=("a.weight",),
        unmeasured=("b.weight",),
        detached=("detach@model.py:3",),
        ungraded=("c.weight",),
    )
    sites = (replace(found.sites[0], feeds=(1, 2)), replace(found.sites[1], feeds=(), wants_gradient=False), found.sites[2])
    replace(found, sites=sites).save(path)
    back = Trace.load(path)
    assert (back.frozen, back.unmeasured) == (found.frozen, found.unmeasured)
    assert (back.detached, back.ungraded) == (found.detached, found.ungraded)
    assert [(site.feeds, site.wants_gradient) for site in back.sites] == [((1, 2), True), ((), False), (None, True)]
    assert back.network_statistics["input_std"].tolist() == [7.0] * len(back.steps)


def test_a_trace_of_before_they_were_told_leaves_open_what_it_does_not_tell(path):
    held = arrays(ordinary())
    meta = json.loads(str(held["meta"]))
    for name in ("frozen", "unmeasured", "detached", "ungraded"):
        del meta[name]
    meta["sites"] = [{"name": site["name"], "is_output": site["is_output"]} for site in meta["sites"]]
    kept = {name: values for name, values in held.items() if not name.startswith(("network/", "site/identical"))}
    path.parent.mkdir()
    np.savez(path, **kept | {"meta": np.array(json.dumps(meta))})
    back = Trace.load(path)
    assert (back.network_statistics, back.frozen, back.detached, back.ungraded) == ({}, (), (), ())
    assert [(site.feeds, site.wants_gradient) for site in back.sites] == [(None, None)] * 3
    found = diagnose([back])
    assert (found.verdict, found.findings) == ("healthy", [])
    assert [item.rule for item in found.undecided] == ["identical-units", "unscaled-input"]
