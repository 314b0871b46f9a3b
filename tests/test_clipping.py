"""Clipping by torch's functions is noticed before it changes a gradient, and nothing else is taken for it."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_, clip_grad_value_

from gradscope.clipping import CLIPPING_FUNCTIONS, is_clipping
from gradscope.function_mode import FunctionMode


def with_gradients(count=2):
    parameters = [nn.Parameter(torch.randn(3, 4)) for _ in range(count)]
    for parameter in parameters:
        parameter.grad = torch.randn(3, 4) * 10
    return parameters


def noticed(call, parameters=()):
    """What `is_clipping` says at each call of a function that clipping uses, and whether gradients were still whole then."""
    before = [parameter.grad.clone() for parameter in parameters]
    found = []

    def handle(function, args, kwargs):
        whole = all(torch.equal(p.grad, kept) for p, kept in zip(parameters, before, strict=True))
        found.append((is_clipping(), whole))
        return function(*args, **kwargs)

    mode = FunctionMode(dict.fromkeys(CLIPPING_FUNCTIONS, handle))
    mode.turn_on()
    try:
        call()
    finally:
        mode.turn_off()
    return found


CLIPS = {
    "norm": lambda p: clip_grad_norm_(p, 1.0),
    "norm, one by one": lambda p: clip_grad_norm_(p, 1.0, foreach=False),
    "norm, of a generator": lambda p: clip_grad_norm_(iter(p), 1.0),
    "norm, of one": lambda p: clip_grad_norm_(p[0], 1.0),
    "largest": lambda p: clip_grad_norm_(p, 1.0, norm_type=float("inf")),
    "sum": lambda p: clip_grad_norm_(p, 1.0, norm_type=1.0),
    "within limits": lambda p: clip_grad_norm_(p, 1e9),
    "value": lambda p: clip_grad_value_(p, 0.1),
    "value, one by one": lambda p: clip_grad_value_(p, 0.1, foreach=False),
}  # fmt: skip


@pytest.mark.parametrize("name", CLIPS)
def test_clipping_is_noticed_before_it_changes_a_gradient(name):
    parameters = with_gradients()
    found = noticed(lambda: CLIPS[name](parameters), parameters)
    assert found[0] == (True, True)
    assert all(clips for clips, _ in found)


def test_both_in_two_halves_are_noticed():
    """As torch does it by itself where norm and scaling are called apart."""
    parameters = with_gradients()

    def call():
        total = nn.utils.get_total_norm([parameter.grad for parameter in parameters])
        nn.utils.clip_grads_with_norm_(parameters, 1.0, total)

    assert noticed(call, parameters)[0] == (True, True)


@pytest.mark.parametrize(
    "call",
    [
        lambda: torch.linalg.vector_norm(torch.randn(3)),
        lambda: torch._foreach_norm([torch.randn(3)]),
        lambda: torch.randn(3).clamp_(0, 1),
        lambda: torch.randn(3).clamp_min_(0),
        lambda: Tensor.clamp_max_(torch.randn(3), 0),
        lambda: nn.functional.normalize(torch.randn(3, 3)),
    ],
)
def test_the_same_functions_elsewhere_are_no_clipping(call):
    assert not any(clips for clips, _ in noticed(call))


def test_a_caller_far_below_clipping_is_none():
    assert not is_clipping()


def test_clipping_without_a_gradient_does_nothing():
    assert noticed(lambda: clip_grad_norm_([nn.Parameter(torch.ones(2))], 1.0)) == []


def test_clipping_works_as_without_being_looked_at():
    one, other = with_gradients(), with_gradients()
    for a, b in zip(one, other, strict=True):
        b.grad = a.grad.clone()
    for name in ("norm", "value"):
        noticed(lambda name=name: CLIPS[name](one))
        CLIPS[name](other)
        assert all(torch.equal(a.grad, b.grad) for a, b in zip(one, other, strict=True))
