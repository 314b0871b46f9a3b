import gc

import pytest
import torch
from small_training import BATCH, BATCHES, LR, MOMENTUM, assert_true, network, samples, truth
from torch import nn
from torch.nn import functional as F  # noqa: N812

transformers = pytest.importorskip("transformers", reason="Transformers is not installed (extra: transformers)")
pytest.importorskip("accelerate", reason="Trainer needs accelerate (extra: transformers)")
from gradscope.integrations.transformers import GradscopeCallback  # noqa: E402


class Model(nn.Module):
    """As Trainer wants it: keyword arguments, the loss among the outputs."""

    def __init__(self, *, fails_at=None, shut=False):
        super().__init__()
        self.net = network()
        self.fails_at, self.calls = fails_at, 0
        if shut:
            nn.init.constant_(self.net.first.bias, -100.0)

    def forward(self, x=None, labels=None):
        self.calls += 1
        if self.calls == self.fails_at:
            raise ValueError("no more")
        logits = self.net(x)
        return {"loss": F.cross_entropy(logits, labels), "logits": logits}


def trainer(watching, folder, model=None, **options):
    x, y = samples()
    rows = [{"x": inputs, "labels": label} for inputs, label in zip(x, y, strict=True)]
    quiet = {"report_to": "none", "disable_tqdm": True, "save_strategy": "no", "use_cpu": True, "logging_steps": 1}
    order = {"train_sampling_strategy": "sequential", "per_device_train_batch_size": BATCH, "num_train_epochs": 1}
    arguments = transformers.TrainingArguments(str(folder), **{**quiet, **order, "max_grad_norm": 0.0, **options})
    model = model or Model()
    optimizer = torch.optim.SGD(model.parameters(), lr=LR, momentum=MOMENTUM)
    constant = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0)
    made = transformers.Trainer(
        model, arguments, train_dataset=rows, eval_dataset=rows, optimizers=(optimizer, constant), callbacks=[watching]
    )
    made.remove_callback(transformers.PrinterCallback)
    return made


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, {}),
        ({"num_train_epochs": 2}, {"epochs": 2}),
        ({"max_grad_norm": 0.05}, {"clip": 0.05}),
        ({"max_grad_norm": 0.05, "gradient_accumulation_steps": 4}, {"clip": 0.05, "accumulate": 4}),
        ({"bf16": True}, {"bf16": True}),
    ],
    ids=["plain", "two epochs", "clipped", "accumulated and clipped", "bf16"],
)
def test_the_gradients_are_those_of_a_plain_loop(options, expected, tmp_path):
    watching = GradscopeCallback(every=1)
    trainer(watching, tmp_path, **options).train()
    assert_true(watching.scope, truth(**expected), path="net.")


def test_watching_changes_nothing(tmp_path):
    def trained(watching):
        model = Model()
        trainer(watching, tmp_path, model, max_grad_norm=1.0).train()
        return torch.cat([p.detach().flatten() for p in model.parameters()])

    assert torch.equal(trained(transformers.TrainerCallback()), trained(GradscopeCallback(every=1)))


def test_a_training_that_raises_is_closed_by_the_block(tmp_path):
    with pytest.raises(ValueError, match="no more"), GradscopeCallback(tmp_path / "run", every=1) as watching:
        trainer(watching, tmp_path, Model(fails_at=4)).train()
    assert watching.scope.step == 3
    assert list(watching.scope.trace.steps) == [0, 1, 2]
    assert watching.diagnosis.to_dict()["interrupted"]
    assert (tmp_path / "run" / "report.json").is_file()


def test_without_a_block_it_is_closed_with_the_trainer(tmp_path):
    model = Model(fails_at=4)
    made = trainer(GradscopeCallback(tmp_path / "run", every=1), tmp_path, model)
    with pytest.raises(ValueError, match="no more"):
        made.train()
    assert not (tmp_path / "run" / "report.json").exists()
    del made
    gc.collect()
    assert (tmp_path / "run" / "report.json").is_file()
    assert not [module for module in model.modules() if vars(module).get("_compiled_call_impl")]


def test_of_several_processes_the_first_writes(tmp_path, monkeypatch):
    monkeypatch.setattr(transformers.Trainer, "is_world_process_zero", lambda self: False)
    watching = GradscopeCallback(tmp_path / "run")
    trainer(watching, tmp_path).train()
    assert watching.scope.step == BATCHES
    assert not (tmp_path / "run").exists()


def test_evaluations_are_logged_but_not_recorded(tmp_path):
    logged = {}
    watching = GradscopeCallback(every=1)

    class Spy(transformers.TrainerCallback):
        def on_train_begin(self, args, state, control, **kwargs):
            log = watching.scope.log
            watching.scope.log = lambda **values: (logged.update(values), log(**values))

    made = trainer(watching, tmp_path, num_train_epochs=2, eval_strategy="epoch")
    made.add_callback(Spy())
    made.train()
    assert_true(watching.scope, truth(epochs=2), path="net.")
    assert {"loss", "eval_loss"} <= set(logged)
    assert all(name == "loss" or name.startswith("eval_") for name in logged)
    made.evaluate()
    assert watching.scope.step == 2 * BATCHES


def test_each_training_has_its_own_scope(tmp_path):
    watching = GradscopeCallback(every=1)
    made = trainer(watching, tmp_path)
    made.train()
    first = watching.scope
    made.train()
    assert watching.scope is not first
    assert (first.step, watching.scope.step) == (BATCHES, BATCHES)
    assert not watching.diagnosis.to_dict()["interrupted"]


def test_a_model_of_the_library_itself(tmp_path):
    sizes = {"vocab_size": 32, "n_positions": 16, "n_embd": 16, "n_layer": 2, "n_head": 2}
    model = transformers.GPT2LMHeadModel(transformers.GPT2Config(**sizes, bos_token_id=0, eos_token_id=0))
    rows = [{"input_ids": torch.arange(i, i + 8) % 32, "labels": torch.arange(i, i + 8) % 32} for i in range(32)]
    arguments = transformers.TrainingArguments(str(tmp_path), report_to="none", disable_tqdm=True, use_cpu=True, max_steps=12)
    with GradscopeCallback(every=1) as watching:
        transformers.Trainer(model, arguments, train_dataset=rows, callbacks=[watching]).train()
    names = [site.name for site in watching.scope.trace.sites]
    assert len(names) == 2
    assert all(name.startswith(f"transformer.h.{i}.mlp.act") for i, name in enumerate(names)), names
    assert watching.scope.step == 12
