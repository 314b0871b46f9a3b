"""Losses against torch's own, member by member; accuracy and R2 against naive counts."""

import numpy as np
import pytest
import torch
from networks import OUTPUTS, class_data, number_data
from torch.nn import functional

from gradscope.objective import Score, losses, unfit


@pytest.mark.parametrize("kind", ["cross-entropy", "nll", "mse", "bce-with-logits"])
def test_class_losses_are_torchs_own_member_by_member(kind):
    output = torch.randn(3, 8, OUTPUTS, dtype=torch.float64)
    output = output.log_softmax(-1) if kind == "nll" else output
    target = torch.randint(OUTPUTS, (3, 8))
    got = losses(kind, output, target)
    for i in range(3):
        one_hot = functional.one_hot(target[i], OUTPUTS).double()
        wanted = {
            "cross-entropy": lambda a, y, h: functional.cross_entropy(a, y),
            "nll": lambda a, y, h: functional.nll_loss(a, y),
            "mse": lambda a, y, h: functional.mse_loss(a, h),
            "bce-with-logits": lambda a, y, h: functional.binary_cross_entropy_with_logits(a, h),
        }[kind](output[i], target[i], one_hot)
        assert got[i].item() == pytest.approx(wanted.item(), rel=1e-12)


@pytest.mark.parametrize("kind", ["mse", "bce-with-logits"])
def test_losses_of_numbers_are_torchs_own(kind):
    output, target = torch.randn(3, 8, 2), torch.rand(3, 8, 2)
    plain = functional.mse_loss if kind == "mse" else functional.binary_cross_entropy_with_logits
    for i, got in enumerate(losses(kind, output, target)):
        assert got.item() == pytest.approx(plain(output[i], target[i]).item(), rel=1e-5)


@pytest.mark.parametrize("kind", ["cross-entropy", "mse"])
def test_a_nan_in_one_member_stays_there(kind):
    output = torch.randn(3, 8, OUTPUTS)
    output[1, 2, 0] = torch.nan
    output.requires_grad_()
    found = losses(kind, output, torch.randint(OUTPUTS, (3, 8)))
    found.sum().backward()
    assert torch.isfinite(found).tolist() == [True, False, True]
    assert torch.isfinite(output.grad).flatten(1).all(1).tolist() == [True, False, True]


def scored(kind, data, output, sizes):
    score, start = Score(kind, data), 0
    for size in sizes:
        part = slice(start, start + size)
        score.add(output[:, part], data.y_test[part].expand(len(output), *data.y_test[part].shape))
        start += size
    return score.result()


@pytest.mark.parametrize("sizes", [[50], [20, 20, 10], [49, 1]])
def test_accuracy_is_the_naive_count(sizes):
    data, output = class_data(test=50), torch.randn(3, 50, OUTPUTS)
    metric, loss = scored("cross-entropy", data, output, sizes)
    for i in range(3):
        right = sum(int(output[i, j].argmax()) == int(data.y_test[j]) for j in range(50))
        assert metric[i].item() == pytest.approx(right / 50)
        assert loss[i].item() == pytest.approx(functional.cross_entropy(output[i], data.y_test).item(), rel=1e-5)


@pytest.mark.parametrize("sizes", [[50], [20, 20, 10]])
def test_r2_is_the_naive_one_averaged_over_outputs(sizes):
    data = number_data(test=50)
    output = data.y_test + torch.randn(2, 50, OUTPUTS) * torch.tensor([0.1, 2.0]).view(2, 1, 1)
    metric, loss = scored("mse", data, output, sizes)
    y = data.y_test.double().numpy()
    for i in range(2):
        residual = ((y - output[i].double().numpy()) ** 2).sum(0)
        wanted = (1 - residual / ((y - y.mean(0)) ** 2).sum(0)).mean()
        assert metric[i].item() == pytest.approx(wanted, rel=1e-4)
        assert loss[i].item() == pytest.approx(functional.mse_loss(output[i], data.y_test).item(), rel=1e-5)
    assert metric[0] > 0.9 > metric[1]


def test_the_mean_has_r2_zero_and_the_truth_has_one():
    data = number_data(test=50)
    mean = data.y_test.mean(0).expand(1, 50, OUTPUTS)
    assert scored("mse", data, mean, [50])[0].item() == pytest.approx(0, abs=1e-6)
    assert scored("mse", data, data.y_test[None], [50])[0].item() == pytest.approx(1)


def test_r2_leaves_out_outputs_that_are_constant():
    data = number_data(test=50)
    data.y_test[:, 0] = 2.0
    output = data.y_test[None].clone()
    output[:, :, 0] = 7
    assert scored("mse", data, output, [50])[0].item() == pytest.approx(1)
    data.y_test[:] = 2.0
    assert np.isnan(scored("mse", data, output, [50])[0].item())


def test_losses_that_do_not_fit_the_data_are_named():
    numbers, classes = number_data(), class_data()
    assert (
        unfit("cross-entropy", numbers)
        == "expected mse or bce-with-logits for targets that are numbers (numbers), got cross-entropy"
    )
    assert "expected targets from 0 to 1" in unfit("bce-with-logits", numbers)
    assert unfit("mse", numbers) is None
    assert all(unfit(kind, classes) is None for kind in ("cross-entropy", "nll", "mse", "bce-with-logits"))
    numbers.y_train.clamp_(0, 1)
    assert unfit("bce-with-logits", numbers) is None
