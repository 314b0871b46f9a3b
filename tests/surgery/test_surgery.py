"""`apply_fix` on models of several kinds: what is replaced, what the copy computes, and what the model keeps."""

import copy

import pytest
import torch
from surgery_models import Added, Cnn, Functional, Listed, Twice, Two, encoder, mlp
from torch import nn

import gradscope
from gradscope.elementwise import CentredSigmoid
from gradscope.errors import FixError
from gradscope.recipe_fields import FIX_NAMES

X, IMAGES, TOKENS = torch.randn(12, 6), torch.randn(5, 1, 8, 8), torch.randn(3, 5, 8)
HINT_ONLY = ("lower-lr", "lr-warmup", "clip-gradient", "adam", "scale-input", "residual")


def paths(applied):
    return [change.path for change in applied.replaced]


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("fix", FIX_NAMES)
def test_the_model_stays_as_it_is_and_the_copy_trains(fix):
    model = Cnn()
    state, text, before = copy.deepcopy(model.state_dict()), repr(model), torch.get_rng_state()
    if fix == "leaky-relu":
        model.eval()
    applied = gradscope.apply_fix(model, fix, IMAGES)
    assert torch.equal(torch.get_rng_state(), before)
    assert repr(model) == text
    assert same(model.state_dict(), state)
    assert not any(
        module._forward_hooks or module._forward_pre_hooks for net in (model, applied.model) for module in net.modules()
    )
    assert all(module.training == model.training for module in applied.model.modules())
    assert not {id(p) for p in applied.model.parameters()} & {id(p) for p in model.parameters()}
    assert bool(applied.replaced) == (fix not in HINT_ONLY)
    assert applied.hint
    assert str(applied).startswith(f"{fix}: ")
    applied.model(IMAGES).sum().backward()
    assert all(p.grad is not None for p in applied.model.parameters())


@pytest.mark.parametrize("fix", HINT_ONLY)
def test_fixes_of_the_training_change_no_module_and_say_what_to_write(fix):
    model = mlp()
    applied = gradscope.apply_fix(model, fix)
    assert same(applied.model.state_dict(), model.state_dict())
    assert applied.replaced == ()
    names = {"model": model, "x_train": X, "x": X, "optimizer": torch.optim.SGD(model.parameters(), lr=0.1), "all_steps": 100}
    names |= {"torch": torch, "block": nn.Identity()}
    exec(applied.hint.replace("warmup.step()", "optimizer.step(); warmup.step()"), names)
    if fix in ("lower-lr", "lr-warmup"):
        assert names["optimizer"].param_groups[0]["lr"] == pytest.approx({"lower-lr": 0.01, "lr-warmup": 0.02}[fix])
    if fix == "adam":
        assert isinstance(names["optimizer"], torch.optim.Adam)
    if fix == "scale-input":
        torch.testing.assert_close(names["x"].std(dim=0, correction=0), torch.ones(6))


@pytest.mark.parametrize(
    ("fix", "old", "new"),
    [
        ("leaky-relu", nn.ReLU, nn.LeakyReLU()),
        ("gelu", nn.ReLU, nn.GELU()),
        ("swap-sigmoid-tanh", nn.Sigmoid, nn.Tanh()),
        ("centre-sigmoid", nn.Sigmoid, CentredSigmoid()),
    ],
)
def test_activations_are_replaced_and_nothing_else(fix, old, new):
    model = mlp(old, nn.Softplus)
    applied = gradscope.apply_fix(model, fix)
    assert paths(applied) == ["1", "3"]
    twin = copy.deepcopy(model)
    twin[1], twin[3] = new, new
    assert torch.equal(applied.model(X), twin(X))
    assert same(applied.model.state_dict(), model.state_dict())


def test_hints_do_to_the_model_what_was_done_to_the_copy():
    for fix in ("leaky-relu", "batchnorm-last", "batchnorm-all", "layernorm-all", "drop-output-activation"):
        model = mlp()
        applied = gradscope.apply_fix(model, fix)
        exec(applied.hint, {"model": model, "nn": nn, "gradscope": gradscope})
        assert repr(model) == repr(applied.model)
        assert torch.equal(model(X), applied.model(X))


def test_norms_go_before_activations_in_a_sequence():
    applied = gradscope.apply_fix(mlp(), "batchnorm-all")
    assert paths(applied) == ["1", "3", "5"]
    assert [module.num_features for module in applied.model.modules() if isinstance(module, nn.BatchNorm1d)] == [8, 7, 4]
    assert paths(gradscope.apply_fix(mlp(), "batchnorm-last")) == ["5"]
    twin = mlp()
    twin.load_state_dict(applied.model.state_dict(), strict=False)
    plain = nn.Sequential(twin[0], nn.BatchNorm1d(8), nn.ReLU(), twin[2], nn.BatchNorm1d(7), nn.ReLU(), twin[4], nn.BatchNorm1d(4), nn.ReLU())  # fmt: skip  # noqa: E501
    assert torch.equal(applied.model(X), plain(X))


def test_a_last_layer_without_activation_is_followed_by_the_norm():
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 4))
    applied = gradscope.apply_fix(model, "batchnorm-last")
    assert [str(change) for change in applied.replaced[0]][0] == "2"
    assert isinstance(applied.model[2][1], nn.BatchNorm1d)


def test_without_an_example_a_norm_takes_the_last_axis_of_any_number():
    model = nn.Sequential(nn.Linear(6, 5), nn.ReLU())
    sequences = torch.randn(7, 5, 6)  # as many places as features: batch-norm would take them for these
    applied = gradscope.apply_fix(model, "batchnorm-all")
    z = applied.model[1][0](model[0](sequences))
    assert z.mean(dim=(0, 1)).abs().max() < 1e-5
    torch.testing.assert_close(applied.model(X), gradscope.apply_fix(model, "batchnorm-all", X).model(X))
    flat = nn.Sequential(nn.Flatten(), nn.Linear(64, 5), nn.ReLU())
    kinds = [type(gradscope.apply_fix(one, "batchnorm-all").model[-1][0]) for one in (model, flat)]
    assert [kind is nn.BatchNorm1d for kind in kinds] == [False, True]


def test_layer_norm_leaves_a_layer_of_one_output_alone():
    model = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 1), nn.Sigmoid())
    applied = gradscope.apply_fix(model, "layernorm-all")
    assert paths(applied) == ["1"]
    assert applied.left == ("2, whose one output would be a constant",)
    assert applied.model(X).std() > 0
    assert paths(gradscope.apply_fix(model, "batchnorm-all", X)) == ["1", "3"]
    with pytest.raises(FixError, match="layernorm-all: expected layers of two outputs or more, got 0 with one"):
        gradscope.apply_fix(nn.Sequential(nn.Linear(6, 1), nn.Tanh()), "layernorm-all")


def test_calls_and_not_registration_say_which_layer_is_the_last():
    applied = gradscope.apply_fix(Cnn(), "batchnorm-last", IMAGES)
    assert paths(applied) == ["sigmoid"]
    assert applied.model.sigmoid[0].num_features == 4
    assert paths(gradscope.apply_fix(Listed(), "batchnorm-last", X)) == ["blocks.0.1"]
    assert paths(gradscope.apply_fix(Listed(), "batchnorm-all", X)) == ["blocks.2.1", "blocks.0.1"]
    with pytest.raises(FixError, match="batchnorm-last: expected an example input, since only a call shows the order"):
        gradscope.apply_fix(Cnn(), "batchnorm-last")


def test_where_the_activation_is_shared_or_a_function_the_norm_goes_behind_the_layer():
    applied = gradscope.apply_fix(Cnn(), "batchnorm-all", IMAGES)
    assert paths(applied) == ["first", "second", "middle", "sigmoid"]
    kinds = [type(applied.model.get_submodule(path)[-1]) for path in paths(applied)[:3]]
    assert kinds == [nn.BatchNorm2d, nn.BatchNorm2d, nn.BatchNorm1d]
    functions = gradscope.apply_fix(Functional(), "layernorm-all", X)
    assert paths(functions) == ["one", "two"]
    functions.model(X)


def test_a_layer_called_twice_takes_no_norm_and_says_so():
    with pytest.raises(FixError, match="got layer, which is called several times; one norm cannot serve several calls"):
        gradscope.apply_fix(Twice(), "batchnorm-all", X)


def test_what_is_normed_already_or_not_followed_straight_away_is_left_alone():
    model = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 4), nn.ReLU())
    assert paths(gradscope.apply_fix(model, "batchnorm-all")) == ["4"]
    with pytest.raises(FixError, match="norms or other things stand between"):
        gradscope.apply_fix(Added(), "layernorm-all", X)
    again = gradscope.apply_fix(mlp(), "batchnorm-all").model
    with pytest.raises(FixError, match="batchnorm-last: expected a last layer without a norm, got none"):
        gradscope.apply_fix(again, "batchnorm-last")


@pytest.mark.parametrize("fix", ["batchnorm-all", "batchnorm-last", "layernorm-all"])
@pytest.mark.parametrize("activation", ["relu", nn.ReLU()])
def test_a_transformer_block_takes_norms_over_features_and_works_in_evaluation(fix, activation):
    applied = gradscope.apply_fix(encoder(activation), fix, TOKENS)
    assert applied.model(TOKENS).shape == TOKENS.shape
    applied.model.eval()
    with torch.no_grad():  # where the fused kernel would pass over what was put in
        fused = applied.model(TOKENS)
    assert torch.allclose(fused, applied.model(TOKENS), atol=1e-6)
    if fix == "batchnorm-all":
        z = applied.model.train().linear1(TOKENS)
        normed = z if activation == "relu" else applied.model.activation[0](z)
        assert normed.mean(dim=(0, 1)).abs().max() < 1e-5


@pytest.mark.parametrize("fix", ["batchnorm-all", "layernorm-all", "gelu"])
def test_an_encoder_with_padding_works_in_evaluation(fix):
    model = nn.TransformerEncoder(encoder(nn.ReLU()), num_layers=2)
    padding = torch.zeros(3, 5, dtype=torch.bool)
    padding[0, 3:] = True
    applied = gradscope.apply_fix(model, fix, {"src": TOKENS, "src_key_padding_mask": padding})
    changed = applied.model.eval()
    with torch.no_grad():  # where encoders join what is not padding to one nested tensor
        fast = changed(TOKENS, src_key_padding_mask=padding)
    assert torch.allclose(fast[~padding], changed(TOKENS, src_key_padding_mask=padding)[~padding], atol=1e-6)
    whole = gradscope.apply_fix(nn.Sequential(nn.Linear(8, 8), model), fix, TOKENS).model.eval()
    with torch.no_grad():
        assert whole[1](TOKENS, src_key_padding_mask=padding).shape == TOKENS.shape


def test_an_activation_module_of_a_transformer_block_is_replaced_in_evaluation_too():
    model = encoder(nn.ReLU())
    with torch.no_grad():
        model.linear1.bias.fill_(-1.0)
    applied = gradscope.apply_fix(model, "gelu", TOKENS)
    assert paths(applied) == ["activation"]
    applied.model.eval()
    with torch.no_grad():
        found = applied.model(TOKENS)
    assert torch.allclose(found, applied.model(TOKENS), atol=1e-6)
    assert not torch.allclose(found, model.eval()(TOKENS), atol=1e-4)


def test_functions_are_named_and_not_pretended_to_be_replaced():
    with pytest.raises(FixError, match=r"leaky-relu: expected nn.ReLU modules, got relu, called as a function in the model; "):
        gradscope.apply_fix(Functional(), "leaky-relu", X)
    with pytest.raises(FixError, match="called as a function in the model; no surgery reaches it: write F.leaky_relu"):
        gradscope.apply_fix(Functional(), "leaky-relu")  # traced
    with pytest.raises(FixError, match="expected nn.ReLU modules, got relu, called as a function"):
        gradscope.apply_fix(encoder(), "leaky-relu", TOKENS)
    with pytest.raises(FixError, match="got sigmoid as a function in model; take it away there"):
        gradscope.apply_fix(Functional(), "drop-output-activation", X)
    for example in (IMAGES, None):
        applied = gradscope.apply_fix(Cnn(), "leaky-relu", example)
        assert paths(applied) == ["relu"]
        assert applied.left == ("relu, called as a function in the model",)
        assert "F.leaky_relu(z)  # instead of relu, in model" in applied.hint
        assert "left as it is: relu, called as a function" in str(applied)


def test_what_cannot_be_traced_is_said_to_be_unseen():
    class Branches(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer, self.relu = nn.Linear(6, 6), nn.ReLU()

        def forward(self, x):
            return self.relu(self.layer(x)) if x.sum() > 0 else x

    applied = gradscope.apply_fix(Branches(), "leaky-relu")
    assert applied.left == ("functions, if there are any: they are seen only with an example input",)
    model = Branches()
    model.relu = nn.Tanh()
    with pytest.raises(FixError, match="functions are seen only with an example input: add example=x"):
        gradscope.apply_fix(model, "leaky-relu")


def test_a_shared_module_stays_one_module():
    shared = nn.ReLU()
    model = nn.Sequential(nn.Linear(6, 6), shared, nn.Linear(6, 6), shared)
    applied = gradscope.apply_fix(model, "leaky-relu")
    assert paths(applied) == ["1", "3"]
    assert applied.model[1] is applied.model[3]
    norms = gradscope.apply_fix(model, "batchnorm-all")
    assert paths(norms) == ["0", "2"], "behind the layers, which are not shared"
    with pytest.raises(FixError, match="which is used in other places, too"):
        gradscope.apply_fix(model, "drop-output-activation")


def test_the_output_s_activation_is_dropped():
    for model, x, path in ((mlp(), X, "5"), (Cnn(), IMAGES, "sigmoid"), (Listed(), X, "blocks.0.1")):
        applied = gradscope.apply_fix(model, "drop-output-activation", x)
        assert paths(applied) == [path]
        assert isinstance(applied.model.get_submodule(path), nn.Identity)
    with pytest.raises(FixError, match="expected an activation on the model's output, got none"):
        gradscope.apply_fix(nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 4)), "drop-output-activation")


def test_examples_may_be_several_arguments():
    for example in ((X, torch.ones(4)), {"x": X, "shift": torch.ones(4)}):
        assert paths(gradscope.apply_fix(Two(), "leaky-relu", example)) == ["relu"]
        assert paths(gradscope.apply_fix(Two(), "batchnorm-last", example)) == ["layer"]
    with pytest.raises(FixError, match=r"batchnorm-last: the model fails on the example: TypeError: .*shift"):
        gradscope.apply_fix(Two(), "batchnorm-last", X)


def test_a_single_activation_is_replaced_itself():
    applied = gradscope.apply_fix(nn.ReLU(), "leaky-relu")
    assert isinstance(applied.model, nn.LeakyReLU)
    assert paths(applied) == [""]


def test_precision_and_mode_are_those_of_the_model():
    model = mlp().double()
    model[3].eval()
    applied = gradscope.apply_fix(model, "batchnorm-all")
    assert {p.dtype for p in applied.model.parameters()} == {torch.float64}
    assert [applied.model[i].training for i in (1, 3, 5)] == [True, False, True]


def test_a_residual_network_has_its_norms_and_takes_leaky_relus():
    torchvision = pytest.importorskip("torchvision")
    model, x = torchvision.models.resnet18(num_classes=10), torch.randn(2, 3, 32, 32)
    applied = gradscope.apply_fix(model, "leaky-relu", x)
    assert len(applied.replaced) == 9
    assert not any(isinstance(module, nn.ReLU) for module in applied.model.modules())
    assert same(applied.model.state_dict(), model.state_dict())
    assert paths(gradscope.apply_fix(model, "batchnorm-last", x)) == ["fc"]
    for fix in ("batchnorm-all", "layernorm-all"):
        with pytest.raises(FixError, match="norms or other things stand between"):
            gradscope.apply_fix(model, fix, x)
    with pytest.raises(FixError, match="expected an activation on the model's output, got none"):
        gradscope.apply_fix(model, "drop-output-activation", x)


def test_what_is_not_there_is_told_in_one_line():
    with pytest.raises(FixError, match=r"^expected one of lower-lr, .*, got 'batchnorm-lst'; did you mean 'batchnorm-last'\?$"):
        gradscope.apply_fix(mlp(), "batchnorm-lst")
    with pytest.raises(FixError, match="^leaky-relu: expected a model with relu, got one without$"):
        gradscope.apply_fix(mlp(nn.Tanh, nn.Tanh), "leaky-relu")
    for fix in ("batchnorm-all", "he-init"):
        with pytest.raises(FixError, match=f"^{fix}: expected a model with linear or convolutional layers"):
            gradscope.apply_fix(nn.Sequential(nn.ReLU()), fix)
    model = mlp()
    model.kept = model(X)
    with pytest.raises(FixError, match="^leaky-relu: the model cannot be copied: RuntimeError"):
        gradscope.apply_fix(model, "leaky-relu")
