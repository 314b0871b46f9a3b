from functools import partial

import pytest
import snippets
import torch
from small_training import BATCH, LR, MOMENTUM, assert_true, truth

import gradscope

skorch = pytest.importorskip("skorch", reason="skorch is not installed")


def test_the_recipe_records_the_gradients_of_a_plain_loop(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    watch = gradscope.watch
    monkeypatch.setattr(gradscope, "watch", lambda *args: watch(*args, every=1))
    options = {"optimizer": torch.optim.SGD, "lr": LR, "optimizer__momentum": MOMENTUM, "batch_size": BATCH, "verbose": 0}
    like_others = partial(skorch.NeuralNetClassifier, train_split=None, **options)
    monkeypatch.setattr(skorch, "NeuralNetClassifier", like_others)
    assert_true(snippets.run("skorch")["scope"], truth(epochs=2))
