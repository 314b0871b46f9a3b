"""The loss scale is that of the scaler that makes the optimizer's step just then."""

import pytest
import torch
from torch import Tensor, nn
from torch.amp import GradScaler

from gradscope.mixed_precision import loss_scale


class Noting:
    """Notes the scale within an optimizer's step."""

    def __init__(self, optimizer):
        self.scales = []
        optimizer.register_step_pre_hook(lambda *_: self.scales.append(loss_scale()))


def prepared(build=None):
    layer = nn.Linear(2, 2)
    optimizer = (build or (lambda p: torch.optim.SGD(p, lr=0.1)))(layer.parameters())
    return layer, optimizer, Noting(optimizer)


def test_without_a_scaler_there_is_none():
    layer, optimizer, noting = prepared()
    layer(torch.ones(2)).sum().backward()
    optimizer.step()
    assert noting.scales == [None]
    assert loss_scale() is None


@pytest.mark.parametrize("scale", [4.0, 65536.0])
@pytest.mark.parametrize("unscaled", [False, True])
@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.AdamW])
def test_within_a_scalers_step_it_is_the_scalers(scale, unscaled, kind):
    layer, optimizer, noting = prepared(lambda p: kind(p, lr=0.1))
    scaler = GradScaler("cpu", init_scale=scale)
    for _ in range(2):
        optimizer.zero_grad()
        scaler.scale(layer(torch.ones(2)).sum()).backward()
        if unscaled:
            scaler.unscale_(optimizer)
        scaler.step(optimizer)
        scaler.update()
    assert [found.item() for found in noting.scales] == [scale] * 2


def test_a_fused_optimizer_is_told_as_well():
    layer, optimizer, noting = prepared(lambda p: torch.optim.AdamW(p, lr=0.1, fused=True))
    scaler = GradScaler("cpu", init_scale=8.0)
    scaler.scale(layer(torch.ones(2)).sum()).backward()
    scaler.step(optimizer)
    assert noting.scales[0].item() == 8


def test_a_step_left_out_for_its_overflow_is_not_seen():
    layer, optimizer, noting = prepared()
    scaler = GradScaler("cpu", init_scale=8.0)
    scaler.scale(layer(torch.ones(2)).sum() * float("inf")).backward()
    scaler.step(optimizer)
    scaler.update()
    assert noting.scales == []


def test_a_scaler_that_is_off_has_none():
    layer, optimizer, noting = prepared()
    scaler = GradScaler("cpu", enabled=False)
    scaler.scale(layer(torch.ones(2)).sum()).backward()
    scaler.step(optimizer)
    assert noting.scales == [None]


def test_the_scale_is_not_waited_for(monkeypatch):
    """It is read as a tensor on its device."""
    layer, optimizer, noting = prepared()
    scaler = GradScaler("cpu", init_scale=8.0)
    scaler.scale(layer(torch.ones(2)).sum()).backward()
    scaler.unscale_(optimizer)
    monkeypatch.setattr(GradScaler, "get_scale", None)
    scaler.step(optimizer)
    assert isinstance(noting.scales[0], Tensor)


def test_another_scaler_further_off_is_not_taken():
    """Whoever steps without a scaler has none, whatever scalers there are."""
    layer, optimizer, noting = prepared()
    GradScaler("cpu", init_scale=8.0).scale(torch.ones(1))
    layer(torch.ones(2)).sum().backward()
    optimizer.step()
    assert noting.scales == [None]


def test_a_users_own_kind_of_scaler_counts():
    class Own(GradScaler):
        pass

    layer, optimizer, noting = prepared()
    scaler = Own("cpu", init_scale=2.0)
    scaler.scale(layer(torch.ones(2)).sum()).backward()
    scaler.step(optimizer)
    assert noting.scales[0].item() == 2
