import pytest
import snippets
from small_training import assert_true, truth

import gradscope

pytest.importorskip("ignite", reason="pytorch-ignite is not installed")


def test_the_recipe_records_the_gradients_of_a_plain_loop(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    watch = gradscope.watch
    monkeypatch.setattr(gradscope, "watch", lambda *args: watch(*args, every=1))
    assert_true(snippets.run("Ignite")["scope"], truth(epochs=2))


def test_accumulation(monkeypatch, tmp_path):
    """Ignite divides the loss that it reports, too."""
    from ignite import engine

    monkeypatch.chdir(tmp_path)
    watch, create = gradscope.watch, engine.create_supervised_trainer
    monkeypatch.setattr(gradscope, "watch", lambda *args: watch(*args, every=1))
    monkeypatch.setattr(engine, "create_supervised_trainer", lambda *args: create(*args, gradient_accumulation_steps=3))
    assert_true(snippets.run("Ignite")["scope"], truth(epochs=2, accumulate=3), loss=False)
