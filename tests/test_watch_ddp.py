"""gradscope.watch on two processes that train one network: one record over the samples of both, written by the first."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from command_line import call, environment
from naive_twin import BATCH, HIDDEN, INPUTS, OUTPUTS, batch
from torch import nn
from torch.nn import functional as F  # noqa: N812

import gradscope
from gradscope.report import load_report
from gradscope.trace import Trace

pytestmark = pytest.mark.skipif(not torch.distributed.is_available(), reason="torch without distributed processes")

TRACE = Path("trace", "run-0.npz")
STEPS, RANKS = 12, 2
CASES = ("unwatched", "watched", "accumulates", "stopped", "compiled", "one watches")


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.act, self.second, self.head = (
            nn.Linear(INPUTS, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, HIDDEN), nn.Linear(HIDDEN, OUTPUTS),
        )  # fmt: skip

    def forward(self, x):
        return self.head(torch.tanh(self.second(self.act(self.first(x)))))


def network():
    torch.manual_seed(3)
    return Net()


def train(model, optimizer, shares, scope=None, *, accumulate=1, stop=None):
    """Train on a share of each batch; the mean over equal shares is the mean over the batch."""
    for i in range(STEPS):
        optimizer.zero_grad()
        parts = shares(batch(i)).chunk(accumulate)
        for k, x in enumerate(parts):
            synchronised = k == len(parts) - 1 or not hasattr(model, "no_sync")
            with model.no_sync() if not synchronised else torch.enable_grad():
                (F.huber_loss(model(x), x[:, :OUTPUTS]) / len(parts)).backward()
        optimizer.step()
        if scope is not None:
            scope.log(loss=float(i))
        if stop is not None and i == stop:
            raise KeyboardInterrupt


def watched_alone(**options):
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    with gradscope.watch(model, optimizer, every=1, on_finding="ignore", **options) as scope:
        train(model, optimizer, lambda x: x, scope)
    return scope, model


def worker(rank, port, folder):
    """What one process does, case after case; run by `python test_watch_ddp.py`."""
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", f"tcp://127.0.0.1:{port}", rank=rank, world_size=RANKS)
    for case in CASES:
        told = train_case(case, rank, folder / case)
        (folder / case).mkdir(exist_ok=True)
        (folder / case / f"{rank}.json").write_text(json.dumps(told))
        torch.distributed.barrier()
    torch.distributed.destroy_process_group()


def train_case(case, rank, folder):
    model = network()
    parallel = nn.parallel.DistributedDataParallel(model)
    given = torch.compile(parallel, backend="aot_eager") if case == "compiled" else parallel
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    told = {}
    if case == "unwatched" or (case == "one watches" and rank):
        train(given, optimizer, lambda x: x[rank::RANKS])
    else:
        try:
            with gradscope.watch(given, optimizer, folder / "log", every=1, on_finding="ignore") as scope:
                accumulate = 2 if case == "accumulates" else 1
                stop = 4 if case == "stopped" else None
                train(given, optimizer, lambda x: x[rank::RANKS], scope, accumulate=accumulate, stop=stop)
        except KeyboardInterrupt:
            told["stopped"] = True
        told["step"], told["verdict"], told["notes"] = scope.step, scope.diagnosis.verdict, list(scope.trace.notes)
        told["samples"] = scope.trace.samples.tolist()
    told["weights"] = [p.detach().numpy().tobytes().hex() for p in model.parameters()]
    told["hooks"] = len(model._forward_hooks) + len(parallel._forward_hooks) + len(optimizer._optimizer_step_post_hooks)
    return told


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """A function of a case: its folder, and what the processes have told."""
    folder = tmp_path_factory.mktemp("ranks")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    known = environment(GLOO_SOCKET_IFNAME="lo")
    known = {**known, "PYTHONPATH": os.pathsep.join([known["PYTHONPATH"], str(Path(__file__).parent)])}
    lines = [[sys.executable, __file__, str(rank), str(port), str(folder)] for rank in range(RANKS)]
    processes = [subprocess.Popen(line, env=known, stderr=subprocess.PIPE, text=True) for line in lines]
    try:
        errors = [process.communicate(timeout=120)[1] for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0] * RANKS, errors

    def of(case):
        return folder / case, [json.loads((folder / case / f"{rank}.json").read_text()) for rank in range(RANKS)]

    return of


def assert_whole(trace, alone, *, tolerance=1e-3):
    """The record is that of one process on the whole batch."""
    trace.self_check()
    assert [site.name for site in trace.sites] == [site.name for site in alone.sites]
    assert trace.steps.tolist() == alone.steps.tolist()
    assert trace.samples.tolist() == [BATCH] * len(alone.steps)
    near = {"rtol": tolerance, "atol": 1e-6}
    for name, wanted in alone.site_statistics.items():
        np.testing.assert_allclose(trace.site_statistics[name], wanted, err_msg=name, **near)
    for name, per_site in alone.unit_statistics.items():
        for got, wanted in zip(trace.unit_statistics[name], per_site, strict=True):
            np.testing.assert_allclose(got, wanted, err_msg=name, rtol=0.01, atol=1e-5)
    np.testing.assert_allclose(trace.output_grad_norm, alone.output_grad_norm, **near)
    assert trace.parameters == alone.parameters
    for name, wanted in alone.parameter_statistics.items():
        np.testing.assert_allclose(trace.parameter_statistics[name], wanted, err_msg=name, **near)


@pytest.mark.parametrize("case", ["watched", "accumulates"])
def test_the_record_is_over_the_samples_of_all_ranks(case, ran):
    folder, told = ran(case)
    alone, _ = watched_alone()
    assert_whole(Trace.load(folder / "log" / TRACE), alone.trace)
    assert [one["step"] for one in told] == [STEPS] * RANKS
    assert [one["hooks"] for one in told] == [0, 0]
    assert told[0]["samples"] == [BATCH] * STEPS
    assert told[0]["verdict"] == alone.diagnosis.verdict
    assert told[0]["weights"] == told[1]["weights"]
    if case == "watched":
        assert told[0]["weights"] == ran("unwatched")[1][0]["weights"]
    assert load_report(folder / "log").coverage.notes == []
    assert call("report", folder / "log").code in (0, 3)


def test_only_the_first_rank_writes(ran):
    folder, _ = ran("watched")
    assert {path.name for path in (folder / "log").iterdir()} == {"trace", "tensorboard", "watch.json", "report.json"}
    assert [path.name for path in (folder / "log" / "trace").iterdir()] == ["run-0.npz"]
    assert len(list((folder / "log" / "tensorboard").rglob("events.*"))) == 2  # of the run, and of the diagnosis
    trace = Trace.load(folder / "log" / TRACE)
    assert trace.loss.tolist() == [float(i) for i in range(STEPS)]


def test_a_rank_that_does_not_watch_keeps_nobody_waiting(ran):
    _, told = ran("one watches")
    assert told[0]["weights"] == ran("unwatched")[1][0]["weights"]
    assert any("rank" in note for note in told[0]["notes"])
    assert told[0]["samples"] == [BATCH // RANKS] * STEPS


def test_ranks_that_are_interrupted_keep_their_record(ran):
    folder, told = ran("stopped")
    assert [one["stopped"] for one in told] == [True] * RANKS
    trace = Trace.load(folder / "log" / TRACE)
    assert trace.steps.tolist() == [0, 1, 2, 3, 4]
    assert load_report(folder / "log").interrupted


def test_a_compiled_parallel_network(ran):
    folder, told = ran("compiled")
    trace = Trace.load(folder / "log" / TRACE)
    assert len(trace.sites) == 2
    assert trace.samples.tolist() == [BATCH] * STEPS
    assert told[0]["weights"] == told[1]["weights"]


def test_a_parallel_network_of_one_process(tmp_path):
    """As with torchrun on one device: the record is that of the network alone."""
    store = torch.distributed.FileStore(str(tmp_path / "store"), 1)
    torch.distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    try:
        model = network()
        parallel = nn.parallel.DistributedDataParallel(model)
        optimizer = torch.optim.SGD(parallel.parameters(), lr=0.1, momentum=0.9)
        with gradscope.watch(parallel, optimizer, every=1, on_finding="ignore") as scope:
            train(parallel, optimizer, lambda x: x, scope)
    finally:
        torch.distributed.destroy_process_group()
    alone, twin = watched_alone()
    assert_whole(scope.trace, alone.trace)
    assert scope.coverage.sites_unseen == []
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), twin.parameters(), strict=True))


def test_a_network_for_several_devices_is_looked_through():
    model = network()
    spread = nn.DataParallel(model)  # without devices it calls the network itself
    optimizer = torch.optim.SGD(spread.parameters(), lr=0.1, momentum=0.9)
    with gradscope.watch(spread, optimizer, every=1, on_finding="ignore") as scope:
        train(spread, optimizer, lambda x: x, scope)
    alone, _ = watched_alone()
    assert_whole(scope.trace, alone.trace)


if __name__ == "__main__":
    worker(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
