"""The function mode sees what it is told to, below whatever modes the user's code has, and leaves their stack alone."""

import contextlib
import gc
import threading
import weakref

import pytest
import torch
from torch import nn
from torch.overrides import TorchFunctionMode, _get_current_function_mode_stack, _pop_mode, _push_mode
from torch.utils import _device
from torch.utils.data import DataLoader, Dataset

from gradscope import function_mode
from gradscope.function_mode import FunctionMode

X = torch.tensor([-1.0, 2.0])


@pytest.fixture(autouse=True)
def _stack_is_as_before():
    before = _get_current_function_mode_stack()
    yield
    after = _get_current_function_mode_stack()
    while _get_current_function_mode_stack():
        _pop_mode()
    torch._GLOBAL_DEVICE_CONTEXT.device_context = _device.CURRENT_DEVICE = None
    for mode in list(function_mode._all):
        mode.turn_off()
    assert after == before


class Seeing:
    """A function mode on relu, and how often it was called."""

    def __init__(self):
        self.count = 0
        self.mode = FunctionMode({torch.relu: self.handle})

    def handle(self, function, args, kwargs):
        self.count += 1
        return function(*args, **kwargs)

    def sees(self):
        before = self.count
        torch.relu(X)
        return self.count > before


class Users(TorchFunctionMode):
    """A mode of the user's: it sees all calls, those that pass through ours included."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_function__(self, func, types, args=(), kwargs=None):
        self.names.append(getattr(func, "__name__", str(func)))
        return func(*args, **(kwargs or {}))


@pytest.fixture
def seeing():
    return Seeing()


def test_calls_are_seen_while_it_is_on(seeing):
    assert not seeing.sees()
    seeing.mode.turn_on()
    assert seeing.mode.is_on
    assert seeing.sees()
    seeing.mode.turn_off()
    assert not seeing.mode.is_on
    assert not seeing.sees()


def test_turning_twice_is_turning_once(seeing):
    seeing.mode.turn_on()
    seeing.mode.turn_on()
    torch.relu(X)
    assert seeing.count == 1
    seeing.mode.turn_off()
    seeing.mode.turn_off()
    assert not seeing.sees()


def test_a_call_within_a_handler_is_not_seen_again(seeing):
    inner = FunctionMode({torch.relu: lambda function, args, kwargs: torch.relu(function(*args)) + seeing.count})
    inner.turn_on()
    assert torch.relu(X).tolist() == [0, 2]
    inner.turn_off()


@pytest.mark.parametrize(
    ("call", "wanted"),
    [
        (lambda: torch.add(X, X, alpha=2), [-3.0, 6.0]),
        (lambda: X.sum(), 1.0),
        (lambda: X.view(1, 2).squeeze(dim=0), [-1.0, 2.0]),
        (lambda: torch.relu(input=X), [0.0, 2.0]),
        (lambda: nn.functional.softmax(torch.zeros(2), dim=0), [0.5, 0.5]),
        (lambda: X.shape, (2,)),
        (lambda: torch.tensor([1, 2]), [1, 2]),
    ],
)
def test_all_calls_return_what_they_return(seeing, call, wanted):
    seeing.mode.turn_on()
    got = call()
    seeing.mode.turn_off()
    assert (got.tolist() if isinstance(got, torch.Tensor) else tuple(got)) == wanted


def test_its_own_handlers_are_those_of_its_making():
    handlers = {}
    mode = FunctionMode(handlers)
    handlers[torch.relu] = None
    mode.turn_on()
    assert torch.relu(X).tolist() == [0, 2]
    mode.turn_off()


def test_an_exception_of_a_handler_or_a_function_leaves_it_on_and_the_stack_whole(seeing):
    def fail(function, args, kwargs):
        raise RuntimeError("handler")

    failing = FunctionMode({torch.tanh: fail})
    seeing.mode.turn_on()
    failing.turn_on()
    with pytest.raises(RuntimeError, match="handler"):
        torch.tanh(X)
    with pytest.raises(RuntimeError):
        torch.add(X, torch.ones(3))
    with pytest.raises(TypeError):
        torch.relu("z")
    assert seeing.sees()
    assert set(_get_current_function_mode_stack()) == {seeing.mode, failing}
    failing.turn_off()
    seeing.mode.turn_off()


def test_off_for_a_while_whatever_happens(seeing):
    with seeing.mode.off():
        assert not seeing.sees()
    assert not seeing.mode.is_on
    seeing.mode.turn_on()
    with contextlib.suppress(KeyError), seeing.mode.off():
        assert not seeing.mode.is_on
        raise KeyError
    assert seeing.sees()
    with seeing.mode.off(), seeing.mode.off():
        assert not seeing.sees()
    assert seeing.sees()
    seeing.mode.turn_off()


# --- beside the modes of the user's ---


def test_it_stands_below_the_users_modes(seeing):
    with Users() as users:
        seeing.mode.turn_on()
        assert _get_current_function_mode_stack() == [seeing.mode, users]
        assert seeing.sees()
        assert "relu" in users.names
        seeing.mode.turn_off()
    with Users() as users:
        pass
    seeing.mode.turn_on()
    with users:
        assert _get_current_function_mode_stack() == [seeing.mode, users]
        assert seeing.sees()
    seeing.mode.turn_off()


def test_the_users_modes_may_come_and_go_in_any_order(seeing):
    """Each of three is taken off as if it stood alone, in every order with ours."""
    for leave_at in range(4):
        for enter_at in range(4):
            users = [Users() for _ in range(3)]
            for place, mode in enumerate(users):
                if place == enter_at:
                    seeing.mode.turn_on()
                mode.__enter__()
            if enter_at == 3:
                seeing.mode.turn_on()
            assert seeing.sees()
            assert all("relu" in mode.names for mode in users)
            for place, mode in enumerate(reversed(users)):
                if place == leave_at:
                    seeing.mode.turn_off()
                assert seeing.sees() == (place < leave_at)
                mode.__exit__(None, None, None)
            seeing.mode.turn_off()
            assert _get_current_function_mode_stack() == []


def device():
    return torch.device("cpu")


def test_a_device_context_entered_before_and_left_after(seeing):
    with device():
        seeing.mode.turn_on()
        assert seeing.sees()
        seeing.mode.turn_off()
    assert not seeing.sees()


def test_a_device_context_entered_before_and_left_while_it_is_on(seeing):
    with torch.device("meta"):
        seeing.mode.turn_on()
        assert seeing.sees()
        assert torch.zeros(1).is_meta
    assert seeing.sees()
    assert not torch.zeros(1).is_meta
    seeing.mode.turn_off()


def test_a_device_context_within(seeing):
    seeing.mode.turn_on()
    with torch.device("meta"):
        assert torch.zeros(1).is_meta
        assert seeing.sees()
    assert seeing.sees()
    seeing.mode.turn_off()


def test_a_device_context_entered_while_it_is_on_and_left_after(seeing):
    seeing.mode.turn_on()
    with torch.device("meta"):
        seeing.mode.turn_off()
        assert torch.zeros(1).is_meta
        assert not seeing.sees()
    assert not torch.zeros(1).is_meta


def test_a_default_device_set_while_it_is_on(seeing):
    seeing.mode.turn_on()
    torch.set_default_device("meta")
    assert torch.zeros(1).is_meta
    assert seeing.sees()
    torch.set_default_device(None)
    assert not torch.zeros(1).is_meta
    seeing.mode.turn_off()


def test_a_default_device_set_before_and_changed_while_it_is_on(seeing):
    """Torch insists that its own mode for it is the lowest of all."""
    torch.set_default_device("meta")
    seeing.mode.turn_on()
    assert torch.zeros(1).is_meta
    try:
        torch.set_default_device("cpu")
        assert not torch.zeros(1).is_meta
        assert seeing.sees()
        torch.set_default_device(None)
    finally:
        seeing.mode.turn_off()


def test_a_default_device_set_while_it_is_on_and_changed_after(seeing):
    seeing.mode.turn_on()
    torch.set_default_device("meta")
    seeing.mode.turn_off()
    assert torch.zeros(1).is_meta
    torch.set_default_device(None)
    assert not torch.zeros(1).is_meta


def test_two_at_once(seeing):
    other = Seeing()
    seeing.mode.turn_on()
    other.mode.turn_on()
    assert seeing.sees()
    assert other.sees()
    seeing.mode.turn_off()
    assert not seeing.sees()
    assert other.sees()
    other.mode.turn_off()
    assert not other.sees()


# --- threads and processes ---


def in_thread(call):
    result = []
    thread = threading.Thread(target=lambda: result.append(call()))
    thread.start()
    thread.join()
    return result[0]


def test_other_threads_are_not_seen(seeing):
    seeing.mode.turn_on()
    assert not in_thread(seeing.sees)
    assert in_thread(_get_current_function_mode_stack) == []
    assert seeing.sees()
    seeing.mode.turn_off()


def test_each_thread_may_have_one_of_its_own():
    def alone():
        own = Seeing()
        own.mode.turn_on()
        seen = [own.sees() for _ in range(50)]
        own.mode.turn_off()
        return [*seen, own.sees(), own.count]

    assert in_thread(alone) == [True] * 50 + [False, 50]


class Looking(Dataset):
    """Samples tell whether the worker that fetches them has a mode on."""

    def __len__(self):
        return 4

    def __getitem__(self, i):
        torch.relu(X)
        return (
            len(_get_current_function_mode_stack()),
            sum(mode.is_on for mode in function_mode._all),
            torch.utils.data.get_worker_info() is not None,
        )


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("users", [False, True])
def test_a_data_loaders_workers_have_none(seeing, users):
    """A forked process begins with a copy of the thread's stack; the user's own modes are its own affair."""
    mode = Users()
    if users:
        mode.__enter__()
    seeing.mode.turn_on()
    try:
        rows = [batch for batch in DataLoader(Looking(), num_workers=1, multiprocessing_context="fork")]
    finally:
        seeing.mode.turn_off()
        if users:
            mode.__exit__(None, None, None)
    assert [[int(value) for value in row] for row in rows] == [[int(users), 0, 1]] * 4


# --- along a node of the graph ---


def test_it_follows_a_node_through_its_backward_and_no_further(seeing):
    class Through(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 1

        @staticmethod
        def backward(ctx, gradient):
            seen.append(seeing.sees())
            return gradient

    seen, x = [], torch.ones(3, requires_grad=True)
    followed = Through.apply(x)
    last = Through.apply(followed)
    seeing.mode.follow(followed.grad_fn)
    last.sum().backward()
    assert seen == [False, True]
    assert not seeing.sees()
    assert x.grad.tolist() == [1, 1, 1]


def test_nothing_is_left_of_it_where_a_node_that_it_follows_fails(seeing):
    class Failing(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 1

        @staticmethod
        def backward(ctx, gradient):
            raise ZeroDivisionError

    output = Failing.apply(torch.ones(3, requires_grad=True))
    seeing.mode.turn_on()
    seeing.mode.follow(output.grad_fn)
    with pytest.raises(ZeroDivisionError):
        output.sum().backward()
    seeing.mode.turn_off()
    assert _get_current_function_mode_stack() == []


def test_a_mode_that_nobody_holds_is_gone(seeing):
    kept = weakref.ref(seeing.mode)
    seeing.mode.turn_on()
    seeing.mode.turn_off()
    del seeing.mode
    gc.collect()
    assert kept() is None


def test_a_push_of_the_users_on_top_is_theirs_to_pop(seeing):
    users = Users()
    _push_mode(users)
    seeing.mode.turn_on()
    assert _pop_mode() is users
    seeing.mode.turn_off()
