"""Tensors inside torch.func's transforms come out as plain ones, and what is computed of them disturbs nothing."""

import pytest
import torch
from torch import nn
from torch._C import _functorch
from torch.func import functional_call, grad, jacrev, jvp, vmap

from gradscope.transforms import undisturbed, without_transforms

X = torch.randn(5, 3, 2)


def seen_by(transform, x=X):
    """What stands behind the tensor that a function gets within a transform."""
    found = []

    def function(value):
        with undisturbed(value):
            found.append(without_transforms(value).clone())
        return value.sum()

    transform(function)(x)
    assert not any(_functorch.is_functorch_wrapped_tensor(tensor) for tensor in found)
    return found


def test_a_plain_tensor_stays_what_it_is():
    x = torch.randn(3, requires_grad=True)
    assert without_transforms(x) is x
    assert without_transforms(nn.Parameter(x)) is not x
    with undisturbed(None), undisturbed(x):
        assert (x * 2).requires_grad


@pytest.mark.parametrize("axis", [0, 1, 2, -1])
def test_what_vmap_maps_over_comes_first(axis):
    (found,) = seen_by(lambda function: vmap(function, in_dims=axis))
    assert torch.equal(found, X.movedim(axis, 0))


def test_grad_leaves_the_values():
    (found,) = seen_by(grad)
    assert torch.equal(found, X)
    assert not found.requires_grad


def test_transforms_within_each_other_are_all_taken_off():
    (found,) = seen_by(lambda function: vmap(grad(function), in_dims=1))
    assert torch.equal(found, X.movedim(1, 0))


@pytest.mark.parametrize(("inner", "outer", "wanted"), [(0, 0, (5, 3, 2)), (1, 2, (2, 3, 5)), (0, 1, (3, 5, 2))])
def test_axes_of_several_vmaps_all_come_first(inner, outer, wanted):
    (found,) = seen_by(lambda function: vmap(vmap(function, in_dims=inner), in_dims=outer))
    assert sorted(found.shape[:2]) == sorted(wanted[:2])
    assert found.shape[2] == wanted[2]
    samples = X.permute(*(X.shape.index(size) for size in wanted)).flatten(0, 1)
    assert sorted(found.flatten(0, 1).tolist()) == sorted(samples.tolist())


def test_axes_of_three_vmaps_and_a_gradient():
    x = torch.randn(5, 3, 2, 4)
    inner = vmap(grad(lambda value: note(value)), in_dims=1)
    found = []

    def note(value):
        with undisturbed(value):
            found.append(without_transforms(value).clone())
        return value.sum()

    vmap(vmap(inner, in_dims=0), in_dims=2)(x)
    # outermost 2 of [5, 3, 2, 4], then 0 of [5, 3, 4], then 1 of [3, 4]; the innermost's axis comes last of these
    (got,) = found
    assert sorted(got.shape[:3]) == [2, 4, 5]
    assert got.shape[3] == 3
    order = [(5, 3, 2, 4).index(size) for size in got.shape]
    assert torch.equal(got, x.permute(order))


@pytest.mark.filterwarnings("ignore:.*torch.jit.script:FutureWarning")
@pytest.mark.parametrize("transform", [jacrev, lambda function: lambda x: jvp(function, (x,), (x,))])
def test_other_transforms_too(transform):
    (found,) = seen_by(transform)
    assert torch.equal(found, X)


def test_what_is_computed_beside_does_not_reach_the_result():
    weight = torch.randn(3)

    def loss(value, watched):
        z = value * weight
        if watched:
            with torch.no_grad(), undisturbed(z):
                plain = without_transforms(z)
                (plain.square().sum() + plain.new_ones(()) * 3).sqrt()
        return torch.relu(z).sum()

    x = torch.randn(4, 3)
    results = [vmap(grad(lambda value, w=watched: loss(value, w)))(x) for watched in (False, True)]
    assert torch.equal(*results)


def test_samples_of_per_sample_gradients_are_all_seen():
    layer, x = nn.Linear(3, 4), torch.randn(6, 3)
    found = []

    def loss(parameters, sample):
        z = functional_call(layer, parameters, (sample,))
        with torch.no_grad(), undisturbed(z):
            found.append(without_transforms(z).clone())
        return torch.relu(z).sum()

    parameters = {name: values.detach() for name, values in layer.named_parameters()}
    vmap(grad(loss), in_dims=(None, 0))(parameters, x)
    (z,) = found
    torch.testing.assert_close(z, layer(x).detach())
