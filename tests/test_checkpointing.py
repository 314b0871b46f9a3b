"""Reentrant checkpoints: sites are numbered in the first run and found again, part by part, in the recomputation."""

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint, checkpoint_sequential

from gradscope.checkpointing import Segments, runs_forward
from gradscope.recorder import Recorder
from gradscope.schedule import every


class Watcher:
    """Reserves a site for each call of a block in the first run, and asks for it in the second."""

    def __init__(self):
        self.segments, self.followed = Segments(), []
        self.reserved, self.recomputed, self.plain = [], [], []

    def sees(self, key):
        if runs_forward():
            if self.in_backward:  # within a part that is run again
                key = self.segments.next_key()
            self.segments.reserve(key, self.followed.append)
            self.reserved.append(key)
        elif self.in_backward:
            self.recomputed.append(self.segments.next_key())
        else:
            self.plain.append(key)

    in_backward = False

    def backward(self, loss):
        self.in_backward = True
        loss.backward()
        self.in_backward = False


class Block(nn.Module):
    def __init__(self, watcher, key, calls=1):
        super().__init__()
        self.layer, self.watcher, self.key, self.calls = nn.Linear(3, 3), watcher, key, calls

    def forward(self, x):
        for call in range(self.calls):
            self.watcher.sees(self.key if call == 0 else f"{self.key}#{call + 1}")
            x = torch.relu(self.layer(x))
        return x


@pytest.fixture
def watcher():
    return Watcher()


def x():
    return torch.randn(2, 3, requires_grad=True)


def test_without_checkpoints_nothing_is_reserved(watcher):
    watcher.backward(Block(watcher, "a")(x()).sum())
    assert (watcher.plain, watcher.reserved, watcher.recomputed) == (["a"], [], [])
    assert watcher.segments.next_key() is None


def test_a_part_finds_its_sites_again_in_order(watcher):
    block = Block(watcher, "a", calls=3)
    output = checkpoint(block, x(), use_reentrant=True)
    assert watcher.reserved == ["a", "a#2", "a#3"]
    assert watcher.followed == [output.grad_fn]
    watcher.backward(output.sum())
    assert watcher.recomputed == ["a", "a#2", "a#3"]


def test_parts_are_recomputed_backwards_each_with_its_own_sites(watcher):
    blocks, stream = [Block(watcher, key, calls=2) for key in "abc"], x()
    for block in blocks:
        stream = checkpoint(block, stream, use_reentrant=True)
    assert watcher.reserved == ["a", "a#2", "b", "b#2", "c", "c#2"]
    watcher.backward(stream.sum())
    assert watcher.recomputed == ["c", "c#2", "b", "b#2", "a", "a#2"]
    assert len(watcher.followed) == 3


def test_one_block_in_several_parts_keeps_their_numbers(watcher):
    block, stream = Block(watcher, "a"), x()
    keys = iter(["a", "a#2", "a#3"])
    watcher.sees = lambda key, see=watcher.sees: see(next(keys) if runs_forward() else key)
    for _ in range(3):
        stream = checkpoint(block, stream, use_reentrant=True)
    watcher.backward(stream.sum())
    assert watcher.recomputed == ["a#3", "a#2", "a"]


def test_sequences_of_parts(watcher):
    network = nn.Sequential(*(Block(watcher, key) for key in "abcd"))
    output = checkpoint_sequential(network, 2, x(), use_reentrant=True)
    assert watcher.reserved == ["a", "b"]  # torch runs the last part as it is
    assert watcher.plain == ["c", "d"]
    watcher.backward(output.sum())
    assert watcher.recomputed == ["a", "b"]


def test_parts_beside_plain_blocks(watcher):
    first, middle, last = (Block(watcher, key) for key in "abc")
    watcher.backward(last(checkpoint(middle, first(x()), use_reentrant=True)).sum())
    assert (watcher.plain, watcher.recomputed) == (["a", "c"], ["b"])


@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad:UserWarning")
def test_a_part_within_a_part(watcher):
    inner = Block(watcher, "inner")

    class Outer(nn.Module):
        def forward(self, value):
            watcher.sees("before")
            value = checkpoint(inner, value.relu(), use_reentrant=True)
            watcher.sees("after")
            return value.tanh()

    output = checkpoint(Outer(), x(), use_reentrant=True)
    assert watcher.reserved == ["before", "inner", "after"]
    watcher.backward(output.sum())
    # the outer recomputation runs the inner part without gradients once more, which reserves its site again
    assert watcher.reserved == ["before", "inner", "after", "inner"]
    assert watcher.recomputed == ["before", "after", "inner"]


def test_a_part_that_calls_more_in_the_second_run_has_no_site_for_it(watcher):
    class Growing(nn.Module):
        calls = 0

        def forward(self, value):
            type(self).calls += 1
            for _ in range(type(self).calls):
                watcher.sees("a")
                value = value.relu()
            return value

    watcher.backward(checkpoint(Growing(), x(), use_reentrant=True, preserve_rng_state=False).sum())
    assert watcher.recomputed == ["a", None]


def test_the_other_kind_is_recorded_in_its_first_run_only(watcher):
    output = checkpoint(Block(watcher, "a"), x(), use_reentrant=False)
    assert (watcher.plain, watcher.reserved) == (["a"], [])
    watcher.backward(output.sum())
    assert watcher.recomputed == [None]


def test_a_step_that_is_over_is_forgotten(watcher):
    output = checkpoint(Block(watcher, "a"), x(), use_reentrant=True)
    watcher.segments.clear()
    watcher.backward(output.sum())
    assert watcher.recomputed == [None]
    assert not vars(watcher.segments)["_keys"]


def test_without_gradients_no_part_is_recomputed(watcher):
    with torch.no_grad():
        checkpoint(Block(watcher, "a"), x(), use_reentrant=True)
    assert watcher.recomputed == []


def test_reserving_outside_of_a_part_does_nothing(watcher):
    watcher.segments.reserve("a", watcher.followed.append)
    assert watcher.followed == []
    assert watcher.segments.next_key() is None


def test_gradients_are_as_without_being_looked_at(watcher):
    block, given = Block(watcher, "a", calls=2), x()
    watcher.backward(checkpoint(block, given, use_reentrant=True).sum())
    looked_at = block.layer.weight.grad.clone()
    block.zero_grad()
    silent = Block(Watcher(), "a", calls=2)
    silent.layer = block.layer
    silent(given).sum().backward()
    assert torch.equal(block.layer.weight.grad, looked_at)


class Part(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner, self.layer, self.act = inner, nn.Linear(3, 3), nn.ReLU()

    def forward(self, x):
        return self.act(self.layer(self.inner(x)))


class Checkpointed(nn.Module):
    def __init__(self, part):
        super().__init__()
        self.part = part

    def forward(self, x):
        return checkpoint(self.part, x, use_reentrant=True)


def recorded(network, steps=3):
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    recorder = Recorder(network, optimizer, every(1))
    with recorder:
        for step in range(steps):
            recorder.begin(step)
            network(x()).square().sum().backward()
            recorder.gradients_ready()
            optimizer.step()
            recorder.step_taken()
            optimizer.zero_grad()
    recorder.records.flush()
    assert not recorder.notes
    return recorder


def test_a_recorder_names_the_sites_of_parts_as_without_checkpoints():
    recorder = recorded(nn.Sequential(nn.Linear(3, 3), Checkpointed(Part(nn.Identity())), Checkpointed(Part(nn.Tanh()))))
    assert list(recorder.sites) == ["1.part.act.relu", "2.part.inner.tanh", "2.part.act.relu"]
    assert recorder.unrecorded == []
    for key in recorder.sites:
        assert recorder.records.counts(key).tolist() == [[2, 2]] * 3


@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad:UserWarning")
def test_a_recorder_names_the_sites_of_parts_within_parts_likewise():
    recorder = recorded(nn.Sequential(nn.Linear(3, 3), Checkpointed(Part(Checkpointed(Part(nn.Identity()))))))
    assert list(recorder.sites) == ["1.part.inner.part.act.relu", "1.part.act.relu"]
    assert recorder.unrecorded == []
    for key in recorder.sites:
        assert recorder.records.counts(key).tolist() == [[2, 2]] * 3
