"""What imports torch, which takes seconds: a saved run is judged and shown without it."""

import importlib.util
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import environment

import gradscope

HEAVY = ("torch", "torchvision", "tensorboard", "jaxtyping", "matplotlib", "sklearn")
# Modules of the package that need torch; all others must not import it. A new module that trains belongs here.
NEED_TORCH = {
    "gradscope.activation_functions",
    "gradscope.activation_gain",
    "gradscope.activation_kernels",
    "gradscope.apart",
    "gradscope.arms",
    "gradscope.autograd_graph",
    "gradscope.call_site",
    "gradscope.cause_search",
    "gradscope.checking",
    "gradscope.checkpointing",
    "gradscope.clipping",
    "gradscope.compiled",
    "gradscope.cost",
    "gradscope.cuts",
    "gradscope.data",
    "gradscope.device",
    "gradscope.direct_pass",
    "gradscope.elementwise",
    "gradscope.fast_paths",
    "gradscope.first_look",
    "gradscope.function_mode",
    "gradscope.fused_update",
    "gradscope.gates",
    "gradscope.gradient_probe",
    "gradscope.initial_weights",
    "gradscope.integrations.lightning",
    "gradscope.integrations.pytest_batches",
    "gradscope.integrations.pytest_check",
    "gradscope.integrations.pytest_loss",
    "gradscope.integrations.pytest_state",
    "gradscope.integrations.pytest_training",
    "gradscope.integrations.transformers",
    "gradscope.intervention_state",
    "gradscope.intervention_training",
    "gradscope.interventions",
    "gradscope.late_look",
    "gradscope.learning_rate",
    "gradscope.logged",
    "gradscope.member_clipping",
    "gradscope.member_traces",
    "gradscope.mixed_precision",
    "gradscope.network_input",
    "gradscope.network_parts",
    "gradscope.no_compiler",
    "gradscope.objective",
    "gradscope.parameter_sums",
    "gradscope.parameters",
    "gradscope.random_states",
    "gradscope.ranks",
    "gradscope.recorded_site",
    "gradscope.recorder",
    "gradscope.records",
    "gradscope.row_layout",
    "gradscope.scope",
    "gradscope.shared_samples",
    "gradscope.site_gates",
    "gradscope.site_gradients",
    "gradscope.site_recorder",
    "gradscope.site_sums",
    "gradscope.stack",
    "gradscope.stand_ins",
    "gradscope.statistics",
    "gradscope.step_record",
    "gradscope.surgery",
    "gradscope.surgery.activations",
    "gradscope.surgery.applied",
    "gradscope.surgery.calls",
    "gradscope.surgery.hints",
    "gradscope.surgery.inits",
    "gradscope.surgery.norms",
    "gradscope.surgery.slots",
    "gradscope.sweep",
    "gradscope.sweep_ray",
    "gradscope.sweep_samples",
    "gradscope.sweep_task",
    "gradscope.sweep_training",
    "gradscope.trained_arms",
    "gradscope.training",
    "gradscope.transforms",
    "gradscope.run_writer",
    "gradscope.trial",
    "gradscope.unit_activation",
    "gradscope.unit_axis",
    "gradscope.unit_gates",
    "gradscope.unit_variance",
    "gradscope.user_activations",
    "gradscope.versions",
    "gradscope.watch_arguments",
}
EVERY = sorted(
    module.name
    for module in pkgutil.walk_packages(gradscope.__path__, "gradscope.")
    if module.name not in ("gradscope.__main__",)
)


def test_the_modules_that_import_torch_are_those_that_are_listed():
    """One process: each module is imported with torch made unimportable, and named where that fails."""
    code = (
        "import importlib, sys\n"
        "class Refuse:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name.split('.')[0] in {HEAVY[:2]!r}:\n"
        "            raise ImportError(name)\n"
        "sys.meta_path.insert(0, Refuse())\n"
        f"for name in {EVERY!r}:\n"
        "    try: importlib.import_module(name)\n"
        "    except ImportError: print(name)\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True, env=environment()
    )
    assert set(done.stdout.split()) == NEED_TORCH & set(EVERY)
    assert set(EVERY) >= NEED_TORCH, "a module listed here is gone"


def loaded_by(*arguments, cwd=None):
    """Return the top-level names of the modules that a command has loaded when it ends."""
    code = (
        "import sys\nfrom gradscope.cli import main\n"
        "try: main()\n"
        "except SystemExit as end:\n"
        "    print('\\n#', end.code, *sorted({name.split('.')[0] for name in sys.modules}))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=True,
        env=environment(),
        cwd=cwd,
    )
    code, *names = done.stdout.splitlines()[-1].removeprefix("# ").split()
    return int(code), set(names)


@pytest.mark.parametrize(
    "arguments",
    [
        ("--help",),
        ("--version",),
        ("explain", "GS103"),
        ("explain",),
        ("diagnose", "--help"),
        ("check", "--help"),
        ("compare", "--help"),
        ("sweep", "--help"),
        ("report", "--help"),
        ("validate", "--help"),
        ("schema",),
    ],
)
def test_commands_that_do_not_train_load_nothing_heavy(arguments):
    code, names = loaded_by(*arguments)
    assert code == 0
    assert not names & set(HEAVY)


def test_validate_and_bad_recipes_need_no_torch(tmp_path):
    root = Path(gradscope.__file__).parents[1]
    assert not loaded_by("validate", root / "recipes")[1] & set(HEAVY)
    (tmp_path / "bad.yaml").write_text("data: digits\n")
    code, names = loaded_by("diagnose", tmp_path / "bad.yaml")
    assert code == 2
    assert not names & set(HEAVY)


def test_a_killed_run_is_judged_without_torch(tmp_path):
    from dataclasses import replace

    from gradscope.rules.examples import example

    (tmp_path / "trace").mkdir()
    (tmp_path / "recipe.yaml").write_text("data: digits\nstack: {hidden: [8, 4], activations: [relu, relu, relu]}\nseeds: 1\n")
    replace(example(), arm="control", seed=1).save(tmp_path / "trace" / "control-1.npz")
    code, names = loaded_by("report", tmp_path)
    assert code == 0
    assert "numpy" in names
    assert not names & set(HEAVY)


def test_the_package_itself_imports_nothing():
    code = "import sys; before = set(sys.modules); import gradscope; print(*sorted(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment())
    assert {name.split(".")[0] for name in done.stdout.split()} <= {"gradscope", "__future__"}


def test_every_module_can_be_found():
    assert len(EVERY) > 50
    assert all(importlib.util.find_spec(name) for name in NEED_TORCH)
