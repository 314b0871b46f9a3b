import pytest
import torch
from small_training import assert_true, loader, network, sgd, truth
from torch import nn
from torch.nn import functional as F  # noqa: N812

import gradscope

accelerate = pytest.importorskip("accelerate", reason="accelerate is not installed")


@pytest.fixture(autouse=True)
def _fresh_state():
    """Accelerate keeps its settings for the whole process."""
    accelerate.state.AcceleratorState._reset_state(True)
    accelerate.state.GradientState._reset_state()
    yield
    accelerate.state.AcceleratorState._reset_state(True)
    accelerate.state.GradientState._reset_state()


@pytest.mark.parametrize("clip", [None, 0.05])
@pytest.mark.parametrize("accumulate", [1, 4])
@pytest.mark.parametrize("bf16", [False, True], ids=["full", "bf16"])
def test_the_gradients_are_those_of_a_plain_loop(accumulate, clip, bf16):
    # Accelerate divides by four in the last step, too, which has only two batches.
    expected = truth(epochs=2, accumulate=accumulate, clip=clip, bf16=bf16, divide_by=lambda count: accumulate)
    accelerator = accelerate.Accelerator(
        cpu=True, gradient_accumulation_steps=accumulate, mixed_precision="bf16" if bf16 else "no"
    )
    raw = network()
    model, optimizer, batches = accelerator.prepare(raw, sgd(raw), loader())
    with gradscope.watch(model, optimizer, every=1) as scope:
        for _ in range(2):
            losses = []
            for x, y in batches:
                with accelerator.accumulate(model):
                    loss = F.cross_entropy(model(x), y)
                    losses.append(loss.detach())
                    accelerator.backward(loss)
                    if accelerator.sync_gradients and clip is not None:
                        accelerator.clip_grad_norm_(model.parameters(), clip)
                    optimizer.step()
                    optimizer.zero_grad()
                if accelerator.sync_gradients:
                    scope.log(loss=torch.stack(losses).mean())
                    losses = []
    assert_true(scope, expected)


def test_what_was_not_prepared_may_be_watched_too():
    accelerator = accelerate.Accelerator(cpu=True)
    raw = network()
    plain = sgd(raw)
    with gradscope.watch(raw, plain, every=1) as scope:
        model, optimizer, batches = accelerator.prepare(raw, plain, loader())
        for x, y in batches:
            loss = F.cross_entropy(model(x), y)
            accelerator.backward(loss)
            optimizer.step()
            optimizer.zero_grad()
            scope.log(loss=loss)
    assert_true(scope, truth())


def test_several_prepared_optimizers():
    accelerator = accelerate.Accelerator(cpu=True)
    raw = network()
    parts = [raw.first.parameters(), [*raw.second.parameters(), *raw.head.parameters()]]
    model, *optimizers, batches = accelerator.prepare(
        raw, *(torch.optim.SGD(part, lr=0.1, momentum=0.9) for part in parts), loader()
    )
    assert isinstance(model, nn.Module)
    with gradscope.watch(model, optimizers, every=1) as scope:
        for x, y in batches:
            loss = F.cross_entropy(model(x), y)
            accelerator.backward(loss)
            for optimizer in optimizers:
                optimizer.step()
                optimizer.zero_grad()
            scope.log(loss=loss)
    assert_true(scope, truth())
