import pickle

import pytest
import torch.nn
import torch.nn.modules.activation
from hypothesis import given
from hypothesis import strategies as st

from gradscope.activation_entries import entry_of, parse_layer
from gradscope.activations import ORDERED, TABLE, ActivationSpec, Block, LayerActivation
from gradscope.recipe_faults import Faults

MIXES_UNITS = {"GLU", "MultiheadAttention", "Softmin", "Softmax", "Softmax2d", "LogSoftmax"}
"""Their value at one unit depends on other units, so they have no slope per unit."""

NAMED = {name: entry for name, entry in TABLE.items() if name != "none"}


def test_table_is_every_element_wise_activation_of_torch():
    ours = {activation.torch_class for activation in NAMED.values()}
    assert ours == set(torch.nn.modules.activation.__all__) - MIXES_UNITS
    assert len(ours) == len(NAMED)


@pytest.mark.parametrize("name", TABLE)
def test_each_can_be_built_with_its_parameters_and_is_element_wise(name):
    parameters = {key: 0.1 if item.default is None else item.default for key, item in TABLE[name].parameters.items()}
    module = getattr(torch.nn, TABLE[name].torch_class)(**parameters).eval()
    z = torch.linspace(-3, 3, 12)
    assert torch.equal(module(z)[::2], module(z[::2].clone()))


@pytest.mark.parametrize("name", TABLE)
def test_defaults_are_torchs_own(name):
    torch_class = getattr(torch.nn, TABLE[name].torch_class)
    defaults = {key: item.default for key, item in TABLE[name].parameters.items() if item.default is not None}
    if len(defaults) == len(TABLE[name].parameters):
        bare, full = torch_class().eval(), torch_class(**defaults).eval()
        z = torch.linspace(-30, 30, 121)
        assert torch.equal(bare(z), full(z))


@pytest.mark.parametrize(
    ("entry", "width", "units"),
    [
        ("relu", 7, [7]),
        (["relu", "sigmoid"], 256, [128, 128]),
        (["relu", "sigmoid"], 5, [3, 2]),
        (["relu", "relu", "relu"], 10, [4, 3, 3]),
        ({"relu": 1, "sigmoid": 255}, 256, [1, 255]),
        ({"relu": 0.25, "tanh": 0.75}, 256, [64, 192]),
        ({"relu": 0.29, "tanh": 0.71}, 100, [29, 71]),
        ({"relu": 0.001, "tanh": 0.999}, 10, [1, 9]),
        ({"relu": 0.001, "elu": 0.001, "tanh": 0.998}, 3, [1, 1, 1]),
        ([{"relu": 1}, {"tanh": 2}, {"relu": 3}], 6, [1, 2, 3]),
        ([{"elu": {"alpha": 2}, "units": 1}, {"relu": 5}], 6, [1, 5]),
    ],
)
def test_blocks_divide_the_layer(entry, width, units):
    assert [count for _, count in parse_layer(entry).resolve(width)] == units


@pytest.mark.parametrize(
    ("entry", "width", "text"),
    [
        ({"relu": 1, "sigmoid": 255}, 255, "expected counts that sum to the layer's 255 units, got a sum of 256"),
        (["relu", "tanh", "elu"], 2, "expected at most 2 blocks for 2 units, got 3"),
        ({"relu": 4}, 5, "expected counts that sum to the layer's 5 units, got a sum of 4"),
    ],
)
def test_blocks_that_do_not_divide_the_layer_are_refused(entry, width, text):
    with pytest.raises(ValueError, match=text):
        parse_layer(entry).resolve(width)


def test_mixed_counts_and_shares_built_in_code_are_refused():
    layer = LayerActivation((Block(ActivationSpec("relu"), 1), Block(ActivationSpec("tanh"), None)))
    with pytest.raises(ValueError, match="only counts"):
        layer.resolve(4)


shares = st.lists(st.integers(1, 1000), min_size=1, max_size=8)


@given(shares, st.integers(8, 5000))
def test_shares_leave_no_unit_out_and_are_less_than_a_unit_off_where_that_is_possible(weights, width):
    total = sum(weights)
    parts = [weight / total for weight in weights]
    layer = LayerActivation(tuple(Block(ActivationSpec("relu"), part) for part in parts))
    units = [count for _, count in layer.resolve(width)]
    assert sum(units) == width
    assert min(units) >= 1
    if all(part * width >= 1 for part in parts):
        assert all(abs(count - part * width) < 1 + 1e-6 for count, part in zip(units, parts, strict=True))


specs = st.sampled_from(
    ["relu", "none", {"elu": {"alpha": 0.5}}, "mine.acts:wave", {"threshold": {"threshold": 1, "value": 0}}]
)
names = st.sampled_from(["relu", "tanh", "none", "mine.acts:wave"])


@given(
    st.one_of(
        specs,
        st.lists(specs, min_size=1, max_size=4),
        st.dictionaries(names, st.integers(1, 300), min_size=1),
        st.lists(st.builds(lambda name, n: {name: n}, names, st.integers(1, 300)), min_size=1, max_size=4),
        st.just([{"elu": {"alpha": 0.5}, "units": 0.5}, {"relu": 0.5}]),
    )
)
def test_an_entry_written_and_read_again_is_the_same(entry):
    layer = parse_layer(entry)
    assert parse_layer(entry_of(layer)) == layer
    assert pickle.loads(pickle.dumps(layer)) == layer
    assert hash(layer) == hash(parse_layer(entry_of(layer)))


def test_labels_and_references():
    assert parse_layer(["relu", "mine.acts:wave"]).label == "relu+wave"
    assert parse_layer("mine.acts:wave").blocks[0].activation.is_reference
    assert not parse_layer("relu").blocks[0].activation.is_reference


def test_all_faults_of_an_entry_are_told_with_their_place():
    with pytest.raises(Faults) as caught:
        parse_layer(["rleu", {"leaky_relu": {"slope": 1}}, {"gelu": {"approximate": "tan"}}])
    assert [fault.keys for fault in caught.value.faults] == [(0,), (1, "leaky_relu", "slope"), (2, "gelu", "approximate")]


@pytest.mark.parametrize("name", ORDERED)
def test_limits_in_the_wrong_order_are_refused_before_torch_refuses_them(name):
    low, high = ORDERED[name]
    with pytest.raises(Faults, match=f"expected {low} below {high}, got 3 and 2"):
        parse_layer({name: {low: 3, high: 2}})
