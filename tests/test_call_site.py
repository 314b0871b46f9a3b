"""Where a call is made: named by module and line, however the module is called; other networks' calls are nobody's."""

import functools
import inspect
import types
from fnmatch import fnmatchcase
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

from gradscope.activation_functions import ACTIVATIONS, OPAQUE
from gradscope.call_site import CallSites, activation_name
from gradscope.elementwise import Elementwise
from gradscope.function_mode import FunctionMode

HERE = Path(__file__).name
OWN = {Elementwise.forward: "activation"}
# from text, so that no line of this file stands between the call and its place
HANDLER = """def handle(function, args, kwargs):
    places.append(sites.locate(known[function], depth=1))
    return function(*args, **kwargs)
"""


def places(network, call, names=None):
    """The places of the non-linearities that `call` calls, as the network's `CallSites` see them."""
    found = {"places": [], "sites": CallSites(network, names), "known": ACTIVATIONS | OPAQUE | OWN}
    exec(compile(HANDLER, "<handler>", "exec"), found)
    mode = FunctionMode(dict.fromkeys(found["known"], found["handle"]))
    mode.turn_on()
    try:
        call()
    finally:
        mode.turn_off()
    return found["places"]


def located(network, call=None, **more):
    """Their names, with a star for this file's line numbers."""
    found = places(network, call or (lambda: network(torch.randn(4, 6))), **more)
    return [place and place.name for place in found]


def fits(names, patterns):
    return len(names) == len(patterns) and all(
        name is pattern if None in (name, pattern) else fnmatchcase(name, pattern.replace("HERE", HERE))
        for name, pattern in zip(names, patterns, strict=True)
    )


def helper(x):
    return torch.sigmoid(x)


def helped(x):
    return helper(x) + helper(x)


class Functional(nn.Module):
    def forward(self, x):
        return F.relu(x).tanh()


class Gated(nn.Module):
    def forward(self, x):
        return F.glu(x)


class Block(nn.Module):
    def __init__(self, act=None):
        super().__init__()
        self.linear, self.act = nn.Linear(6, 6), act or nn.ReLU()

    def forward(self, x):
        return x + self.act(self.linear(x))


class ByForward(Block):
    def forward(self, x):
        return self.act.forward(self.linear.forward(x))


class Swish(nn.Module):
    def forward(self, x):
        return x * torch.sigmoid(x)


class OnTheFly(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = Block()

    def forward(self, x):
        return nn.Sequential(nn.Tanh(), nn.Sequential(self.inner, nn.ReLU(), Swish()))(x)


class Held(nn.Module):
    """Calls a network that is not registered with it."""

    def __init__(self, other):
        super().__init__()
        self.own, self.other = nn.Linear(6, 6), [other]

    def forward(self, x):
        return self.other[0](self.own(x))


class Captured(nn.Module):
    def __init__(self):
        super().__init__()
        self.act = nn.ReLU()

    def forward(self, x):
        def inner(y):
            return self.act(torch.tanh(y))

        return inner(x)


def decorated(function):
    @functools.wraps(function)
    def inner(*args, **kwargs):
        return function(*args, **kwargs)

    return inner


class Decorated(nn.Module):
    @decorated
    def forward(self, x):
        return F.relu(x)


class Oddly(nn.Module):
    def forward(this, *inputs):  # noqa: N805
        return F.relu(inputs[0])


class Inherited(nn.ReLU):
    pass


class Deep(nn.Module):
    def __init__(self, levels):
        super().__init__()
        self.levels = levels

    def forward(self, x):
        return self.down(x, self.levels)

    def down(self, x, level):
        return F.relu(x) if level == 0 else self.down(x, level - 1)


NETWORKS = {
    "sequential": (lambda: nn.Sequential(nn.Linear(6, 6), nn.ReLU(), nn.Tanh()), ["1.relu", "2.tanh"]),
    "block": (lambda: nn.Sequential(Block(), Block()), ["0.act.relu", "1.act.relu"]),
    "shared module": (lambda: nn.Sequential(*[Block(nn.GELU())] * 2), ["0.act.gelu"] * 2),
    "shared activation": (lambda: (lambda act: nn.Sequential(Block(act), Block(act)))(nn.ReLU()), ["0.act.relu"] * 2),
    "functions": (Functional, ["relu@HERE:*", "tanh@HERE:*"]),
    "functions within": (lambda: nn.Sequential(Functional()), ["0.relu@HERE:*", "0.tanh@HERE:*"]),
    "forward instead of a call": (lambda: nn.Sequential(ByForward()), ["0.act.relu"]),
    "a module alone": (nn.ReLU, ["relu"]),
    "a user's activation": (lambda: nn.ModuleDict({"swish": Swish()})["swish"], ["sigmoid@HERE:*"]),
    "a user's activation within": (lambda: Block(Swish()), ["act.sigmoid@HERE:*"]),
    "a user's function": (lambda: Block(Elementwise(torch.tanh)), ["act.elementwise"]),
    "a subclass": (lambda: Block(Inherited()), ["act.inherited"]),
    "a kind of relu": (lambda: nn.Sequential(nn.ReLU6(), nn.LeakyReLU(), nn.PReLU()), ["0.relu6", "1.leakyrelu", "2.prelu"]),
    "a nested function": (lambda: nn.Sequential(Captured()), ["0.tanh@HERE:*", "0.act.relu"]),
    "a decorated forward": (lambda: nn.Sequential(Decorated()), ["0.relu@HERE:*"]),
    "another word for self": (lambda: nn.Sequential(Oddly()), ["0.relu@HERE:*"]),
    "far down": (lambda: nn.Sequential(Deep(100)), ["0.relu@HERE:*"]),
    "modules made in forward": (OnTheFly, ["tanh", "inner.act.relu", "relu", "sigmoid@HERE:*"]),
    "modules made in a part": (
        lambda: nn.Sequential(OnTheFly()),
        ["0.tanh", "0.inner.act.relu", "0.relu", "0.sigmoid@HERE:*"],
    ),
    "not registered": (lambda: Held(nn.Sequential(nn.ReLU())), ["relu"]),
}  # fmt: skip


@pytest.mark.parametrize("name", NETWORKS)
def test_calls_are_named_by_their_module(name):
    build, patterns = NETWORKS[name]
    names = located(build())
    assert fits(names, patterns), names


@pytest.mark.parametrize("activation", [F.relu, "gelu", nn.GELU(), torch.tanh])
def test_torchs_own_layers_are_named_without_a_line(activation):
    """Their functions are called in torch's files; the line of the loop that calls them would say nothing."""
    layer = nn.TransformerEncoderLayer(6, 2, 8, batch_first=True, activation=activation, dropout=0)
    network = nn.Sequential(nn.TransformerEncoder(layer, 2, enable_nested_tensor=False))
    found = places(network, lambda: network(torch.randn(3, 5, 6)))
    kind = {F.relu: "relu", "gelu": "gelu", torch.tanh: "tanh"}.get(activation, "activation.gelu")
    assert [place.name for place in found if "multi_head" not in place.name] == [f"0.layers.{i}.{kind}" for i in (0, 1)]
    opaque = [place for place in found if "multi_head" in place.name]
    assert [place.opaque("multi_head_attention_forward") for place in opaque] == [
        f"0.layers.{i}.self_attn (multi_head_attention_forward)" for i in (0, 1)
    ]


def test_a_line_is_that_of_the_call():
    _, first = inspect.getsourcelines(Functional.forward)
    assert located(nn.Sequential(Functional())) == [f"0.{name}@{HERE}:{first + 1}" for name in ("relu", "tanh")]


def test_a_function_defined_elsewhere_has_the_line_where_it_calls():
    _, first = inspect.getsourcelines(helper)
    network = nn.Sequential(nn.Linear(6, 6), Block(Elementwise(torch.tanh)))
    network[0].forward = types.MethodType(lambda self, x: helped(x), network[0])
    assert located(network)[:2] == [f"0.sigmoid@{HERE}:{first + 1}"] * 2


def made_from(text, filename, **names):
    exec(compile(text, filename, "exec"), names)
    return names


FOREIGN = "def function(x):\n    return F.relu(x)\n"


@pytest.mark.parametrize("folder", ["site-packages/timm", "torchling", "gradscopes"])
def test_code_of_other_packages_has_lines(folder):
    function = made_from(FOREIGN, f"/some/{folder}/layers.py", F=F)["function"]
    assert located(nn.Identity(), lambda: function(torch.randn(2))) == ["relu@layers.py:2"]


def test_a_folder_that_begins_like_torchs_is_not_torchs():
    function = made_from(FOREIGN, f"{Path(torch.__file__).parent}vision/models/inception.py", F=F)["function"]
    assert located(nn.Identity(), lambda: function(torch.randn(2))) == ["relu@inception.py:2"]


def test_code_without_a_file_has_no_line():
    function = made_from(FOREIGN, "<stdin>", F=F)["function"]
    network = nn.Sequential(nn.Linear(6, 6))
    network[0].forward = types.MethodType(lambda self, x: x, network[0])
    (name,) = located(network, lambda: function(torch.randn(2)))
    assert fits([name], ["relu@HERE:*"])  # the lambda above it has one


def test_a_call_in_the_loop_has_its_line_and_no_module():
    network = nn.Sequential(nn.Linear(6, 6))
    (place,) = places(network, lambda: torch.relu(network(torch.randn(2, 6))))
    assert fits([place.name], ["relu@HERE:*"])
    assert (place.path, place.in_network) == ("", False)


def test_a_call_within_the_network_is_known_for_that():
    network = nn.Sequential(Functional())
    place, _ = places(network, lambda: network(torch.randn(2)))
    assert (place.path, place.in_network) == ("0", True)
    assert place.line.startswith(f"{HERE}:")


@pytest.mark.parametrize("other", [lambda: nn.Sequential(nn.ReLU()), Functional, nn.ReLU, lambda: nn.Sequential(Block())])
def test_another_networks_calls_are_none_of_ours(other):
    network, other = nn.Sequential(nn.Linear(6, 6), Block()), other()
    names = located(network, lambda: (other(torch.randn(2, 6)), network(torch.randn(2, 6))))
    assert names[-1] == "1.act.relu"
    assert set(names[:-1]) == {None}
    assert len(names) > 1


def test_a_network_within_another_one_is_still_watched():
    """The watched network is a part: what stands around it, it does not know."""
    whole = nn.Sequential(nn.Sequential(nn.ReLU()), nn.Tanh())
    assert located(whole[0], lambda: whole(torch.randn(2))) == ["0.relu", None]


def test_a_container_that_only_holds_is_no_place():
    parts = nn.ModuleDict({"gate": nn.ReLU(), "rest": nn.ModuleList([nn.Tanh(), nn.Sigmoid()])})
    call = lambda: [module(torch.randn(2)) for module in (parts["gate"], *parts["rest"])]  # noqa: E731
    assert located(parts, call) == ["gate.relu", "rest.0.tanh", "rest.1.sigmoid"]


def test_names_of_the_users_own_stand_for_their_modules_only():
    network = nn.Sequential(nn.Sequential(Functional(), nn.ReLU()), nn.Tanh())
    names = {"0.0": "stem", "0.1": "gate", "1": "squash.tanh", "9": "nobody"}
    assert fits(located(network, names=names), ["stem.relu@HERE:*", "stem.tanh@HERE:*", "gate.relu", "squash.tanh"])


def test_a_compiled_wrapper_leaves_no_trace_in_a_name():
    network = nn.Sequential(nn.Sequential(nn.ReLU()))
    network.add_module("_orig_mod", nn.Sequential(nn.Tanh()))
    assert located(network, lambda: network(torch.randn(2))) == ["0.0.relu", "0.tanh"]
    sites = CallSites(network)
    assert sites.path(network[0]) == "0"
    assert sites.path(network) == ""
    assert sites.path(nn.ReLU()) is None


@pytest.mark.parametrize(
    ("path", "module", "name"),
    [
        ("act", nn.ReLU(), "act.relu"),
        ("", nn.ReLU(), "relu"),
        ("3", nn.ReLU(), "3.relu"),
        ("block.relu", nn.ReLU(), "block.relu"),
        ("block.relu1", nn.ReLU(), "block.relu1"),
        ("block.gate", nn.GELU(), "block.gate.gelu"),
        ("leaky_relu", nn.LeakyReLU(), "leaky_relu.leakyrelu"),
        ("relu", nn.ReLU6(), "relu"),
    ],
)
def test_the_class_is_told_where_the_path_does_not(path, module, name):
    assert activation_name(path, type(module)) == name


@pytest.mark.parametrize(
    ("build", "call", "wanted"),
    [
        (lambda: nn.Sequential(nn.LSTM(6, 4)), lambda network: network(torch.randn(3, 2, 6)), "0 (lstm)"),
        (
            nn.Identity,
            lambda network: F.scaled_dot_product_attention(*[torch.randn(1, 1, 2, 4)] * 3),
            "scaled_dot_product_attention@HERE:*",
        ),
        (
            lambda: nn.Sequential(Gated()),
            lambda network: network(torch.randn(2, 6)),
            "0 (glu@HERE:*)",
        ),
    ],
)
def test_opaque_calls_are_named_by_module_and_function(build, call, wanted):
    network = build()
    seen = places(network, lambda: call(network))
    names = [place.opaque(wanted.partition("@")[0].partition("(")[2].rstrip(")") or wanted.partition("@")[0]) for place in seen]
    assert fits(names[:1], [wanted]), names


def test_looking_keeps_no_frame_and_no_module_alive():
    network = Functional()
    sites = CallSites(network)
    assert not any(value is network for value in vars(sites).values())
    assert all(isinstance(key, int) for key in sites._paths)
