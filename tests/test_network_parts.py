"""The network behind its wrappers, and torch's optimizers behind those of libraries."""

import pytest
import torch
from networks import population, stack
from torch import nn

from gradscope.errors import GradscopeError, WatchError
from gradscope.network_parts import torch_optimizers, unwrapped


def network():
    return nn.Sequential(nn.Linear(3, 2), nn.ReLU())


def sgd(model=None):
    return torch.optim.SGD((model or network()).parameters(), lr=0.1)


class DistributedDataParallel(nn.Module):
    """As torch's, without a process group."""

    def __init__(self, module):
        super().__init__()
        self.module = module


class Wrapper:
    def __init__(self, optimizer):
        self.optimizer = optimizer


class Hidden:
    def __init__(self, optimizer):
        self._optimizer = optimizer


class AcceleratedOptimizer(torch.optim.Optimizer):
    """As Accelerate's: its own constructor is all that runs."""

    def __init__(self, optimizer):
        self.optimizer = optimizer

    @property
    def param_groups(self):
        return self.optimizer.param_groups


def test_a_network_is_its_own():
    for model in (network(), nn.ReLU(), population(stack())):
        assert unwrapped(model) is model


def test_wrappers_are_looked_through():
    model = network()
    assert unwrapped(nn.DataParallel(model)) is model
    assert unwrapped(DistributedDataParallel(model)) is model
    assert unwrapped(torch.compile(model)) is model
    assert unwrapped(torch.compile(DistributedDataParallel(model))) is model
    assert unwrapped(nn.DataParallel(torch.compile(model))) is model


def test_a_module_that_holds_one_called_module_is_no_wrapper():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.module = network()

    model = Model()
    assert unwrapped(model) is model


@pytest.mark.parametrize("wrap", [lambda o: o, Wrapper, Hidden, AcceleratedOptimizer, lambda o: Wrapper(Hidden(Wrapper(o)))])
def test_an_optimizer_is_found_behind_its_wrappers(wrap):
    optimizer = sgd()
    assert torch_optimizers(wrap(optimizer)) == [optimizer]
    assert torch_optimizers([wrap(optimizer)]) == [optimizer]
    assert torch_optimizers(wrap(optimizer) for _ in range(1)) == [optimizer]


def test_several_keep_their_order_and_each_counts_once():
    one, other = sgd(), sgd()
    assert torch_optimizers([other, one, Wrapper(other), one]) == [other, one]
    assert torch_optimizers({"a": one, "b": other}.values()) == [one, other]


def test_every_kind_of_torchs_optimizers_is_one():
    for kind in (torch.optim.Adam, torch.optim.LBFGS, torch.optim.RMSprop, torch.optim.Adagrad):
        optimizer = kind(network().parameters())
        assert torch_optimizers(optimizer) == [optimizer]


@pytest.mark.parametrize("given", [None, 3, "adam", network(), lambda: None, object(), Wrapper(None), Wrapper(3), [None]])
def test_something_else_is_told_in_one_line(given):
    with pytest.raises(WatchError, match="expected a torch.optim.Optimizer or several, got ") as caught:
        torch_optimizers(given)
    assert isinstance(caught.value, GradscopeError)
    assert str(caught.value).startswith("watch: optimizer: ")
    assert "\n" not in str(caught.value)


def test_a_wrapper_around_itself_is_told():
    class Own:
        @property
        def optimizer(self):
            return self

    one, other = Wrapper(None), Wrapper(None)
    one.optimizer, other.optimizer = other, one
    for given in (Own(), one):
        with pytest.raises(WatchError, match="got (Own|Wrapper)"):
            torch_optimizers(given)


@pytest.mark.parametrize("given", [[], (), {}])
def test_no_optimizer_at_all_is_told(given):
    with pytest.raises(WatchError, match="got none"):
        torch_optimizers(given)


def test_parameters_in_the_place_of_an_optimizer_are_told():
    with pytest.raises(WatchError, match="got Parameter"):
        torch_optimizers(network().parameters())
