"""Example reports and traces for tests of what renders them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from gradscope.report import (
    Control,
    Coverage,
    Finding,
    FixOutcome,
    Hypothesis,
    Report,
    Setting,
    Stage,
    Timing,
    Undecided,
    Waterfall,
)
from gradscope.rules.examples import example
from gradscope.trace import PARAMETER_STATISTICS, SITE_STATISTICS, UNIT_STATISTICS, Site, Task, Trace
from gradscope.watch_report import WatchedRun, build_watch_report

NAN = float("nan")
NAMES = ("1.relu", "2.sigmoid", "3.relu")
LONG_NAMES = tuple(f"encoder.blocks.{i // 2}.{('relu', 'mlp.gelu')[i % 2]}@model.py:131#2" for i in range(8))
WATCHED = WatchedRun(
    model="ResidualNet", parameters=1_234_567, device="cuda:0", versions={"torch": "2.14.1"}, steps=4000, train_s=61.2,
    recording_frac=0.013,
)  # fmt: skip


def waterfall(step: int, transmissions: list[float | None], names: tuple[str, ...] = NAMES) -> Waterfall:
    """Gates and the weights between them, from the loss down; None from the first stage on that no gradient reaches."""
    labels = [("gate", names[-1])]
    for later, earlier in zip(names[:0:-1], names[-2::-1], strict=True):
        labels += [("weight", f"{earlier} -> {later}"), ("gate", earlier)]
    stages, left = [], 1.0
    for (kind, name), passes in zip(labels, transmissions, strict=True):
        left = left * passes if passes is not None else left
        stages.append(Stage(name=name, kind=kind, transmission=passes, remaining=None if passes is None else left))
    return Waterfall(step=step, stages=stages)


def finding(rule: str = "output-collapse", code: str = "GS103", site: str | None = "3.relu", **changes: Any) -> Finding:
    values: dict[str, Any] = {
        "role": "origin",
        "first_step": 0,
        "seeds": [1, 2, 3, 4, 5],
        "severity": "error",
        "evidence": {"closed_units": 7, "units": 10, "closed_frac": 0.913, "steps": [0, 10, 50], "total": False},
        "cause": "the sigmoid layer before it sends nearly the same vector for every sample, so the sign of each unit's "
        "pre-activation is the same for all of them",
        "text": "7 of the 10 output units have z <= 0 for every sample; a closed relu has no gradient to open again",
    }
    return Finding(rule=rule, code=code, site=site, **(values | changes))


def fix(
    name: str, values: list[float], control: list[float], interval: tuple[float, float] | None, **changes: Any
) -> FixOutcome:
    mean, base = float(np.mean(values)), float(np.mean(control))
    given: dict[str, Any] = {"confidence": 0.95, "cleared": [], "verdict": "no effect", "cost": 1.0} | changes
    return FixOutcome(
        fix=name, mean=mean, std=float(np.std(values)), effect=mean - base, interval=interval, values=values, **given
    )


def sick(**changes: Any) -> Report:
    """The published failure: output collapse behind a sigmoid, cured by batch-norm on the last layer."""
    control = [0.1, 0.31, 0.42, 0.28, 0.45]
    values: dict[str, Any] = {
        "gradscope": "0.1.0",
        "recipe": "sigmoid-relu",
        "verdict": "sick",
        "control": Control(metric="accuracy", mean=0.312, std=0.137, values=control, chance=0.103),
        "findings": [
            finding("vanishing-gradient", "GS105", "1.relu", role="victim", severity="warning", seeds=[1, 2]),
            finding("vanishing-gradient", "GS105", "2.sigmoid", role="victim", severity="warning", first_step=4),
            finding(),
            finding(
                "common-mode",
                "GS108",
                severity="warning",
                evidence={"common_mode": 11.2, "threshold": 3.1},
                text="the sign of z is the same for every sample at the start",
            ),
            finding("stuck-at-chance", "GS203", None, role="victim", seeds=[1], first_step=900),
        ],
        "fixes": [
            fix(
                "batchnorm-last",
                [0.98, 0.97, 0.98, 0.99, 0.98],
                control,
                (0.32, 0.79),
                verdict="works",
                cleared=["output-collapse", "common-mode"],
                cost=1.08,
                summary="batch-norm before the last activation",
            ),
            fix(
                "batchnorm-all",
                [0.97, 0.97, 0.98, 0.97, 0.98],
                control,
                (0.31, 0.78),
                verdict="works",
                cleared=["output-collapse"],
                remaining=["common-mode"],
                cost=1.21,
                summary="batch-norm before every activation",
            ),
            fix("reseed", [0.3, 0.2, 0.5, 0.4, 0.2], control, (-0.36, 0.4), summary="the control with other seeds"),
        ],
        "recommended": "batchnorm-last",
        "coverage": Coverage(sites_seen=3),
        "timing": Timing(train_s=8.1, recording_frac=0.021),
        "hypotheses": [
            Hypothesis(
                name="closed last pre-activations",
                holds=True,
                evidence={"closed_frac": 0.72},
                text="the last pre-activations are below zero for every sample in 7 of 10 units",
            ),
            Hypothesis(
                name="saturated sigmoids",
                holds=False,
                evidence={"saturated_frac": 0.0},
                text="no sigmoid value lies where the slope is below 5 % of its largest",
            ),
        ],
        "waterfalls": [
            waterfall(0, [0.59, 0.53, 0.22, 0.61, 0.7]),
            waterfall(10, [0.4, 0.5, 0.2, 0.6, 0.7]),
            waterfall(1120, [0.0, None, None, None, None]),
        ],
        "setting": Setting(
            data="digits",
            device="cpu",
            train_samples=1437,
            test_samples=360,
            steps=900,
            planned_steps=900,
            parameters=163_332,
            seeds=[1, 2, 3, 4, 5],
            interval_method="Learned-Miller and Thomas (2019) on the paired differences",
        ),
    }
    return Report(**(values | changes))


def healthy(**changes: Any) -> Report:
    values: dict[str, Any] = {
        "recipe": "healthy",
        "verdict": "healthy",
        "control": Control(metric="accuracy", mean=0.981, std=0.004, values=[0.98, 0.98, 0.98, 0.985, 0.98], chance=0.103),
        "findings": [],
        "fixes": [],
        "recommended": None,
        "hypotheses": [],
        "waterfalls": [waterfall(0, [0.9, 0.7, 0.7, 0.8, 0.7]), waterfall(900, [0.8, 0.9, 0.6, 0.9, 0.7])],
    }
    return sick(**(values | changes))


def undecided() -> Report:
    return healthy(
        verdict="undecided",
        control=None,
        waterfalls=[],
        coverage=Coverage(sites_seen=0, sites_unseen=["encoder", "decoder"], notes=["torch.compile dropped the hooks"]),
        undecided=[
            Undecided(rule="dead-units", code="GS101", reason="closed_frac was not recorded at any site"),
            Undecided(rule="saturation", code="GS104", reason="ZeroDivisionError: division by zero", crashed=True),
        ],
    )


def interrupted() -> Report:
    report = sick(interrupted=True, fixes=[], recommended=None)
    return report.model_copy(update={"setting": report.setting.model_copy(update={"steps": 300})})


def watched_trace(names: tuple[str, ...] = LONG_NAMES, **changes: Any) -> Trace:
    """A network of residual blocks in a loop of the user's own: relu and gelu in each, gradients measured at every site."""
    kinds = tuple("shuts" if "relu" in name else "smooth" for name in names)
    site = {("remaining", i): 0.2 + 0.1 * (i % 2) for i in range(len(names))} | changes.pop("site", {})
    found = example(kinds, **({"loss": None, "task": Task(""), "output": False, "metric": 0.0} | changes), site=site)
    nothing = np.empty(0, np.float32)
    return replace(
        found,
        arm="run",
        seed=0,
        sites=tuple(replace(one, name=name) for one, name in zip(found.sites, names, strict=True)),
        evaluation_steps=np.empty(0, np.int64),
        evaluation_metric=nothing,
        evaluation_loss=nothing,
    )


def watched(**changes: Any) -> Report:
    """A watched loop in which a block's relu is shut and the gradient goes around it, while the first layer is dead."""
    shut = {(name, i): 1.0 for name in ("closed_frac", "nonpositive_frac") for i in (0, 4)}
    gone = {(name, i): 0.0 for name in ("gate_transmission", "remaining") for i in (0, 4)}
    one = watched_trace(site=shut | gone | {("act_common_mode", 1): np.inf})
    return build_watch_report([replace(one, **changes)], WATCHED)


def watched_healthy() -> Report:
    """Everything that can be judged is healthy; half of the network is frozen, and its attention is not looked into."""
    frozen = {
        (name, i): NAN for name in ("gate_transmission", "weight_transmission", "remaining", "grad_rms") for i in (0, 1, 2)
    }
    one = replace(
        watched_trace(site=frozen, loss=1.0),
        unseen=(*(f"blocks.{i}.attn (scaled_dot_product_attention)" for i in range(4)), "decoder (lstm)"),
        notes=("trainable parameters that no watched optimizer holds: head.weight, head.bias",),
    )
    return build_watch_report([one], WATCHED)


def watched_undecided() -> Report:
    """Nothing was recorded."""
    return build_watch_report([], WatchedRun(model="ResidualNet", parameters=12, device="cpu"), interrupted=True)


def many_sites(count: int = 200) -> Report:
    """A deep network whose gradient fades little by little; every site but the last is a victim."""
    names = tuple(f"blocks.{i}.mlp.act" for i in range(count))
    victims = [finding("vanishing-gradient", "GS105", name, role="victim") for name in names[:-1]]
    passes: list[float | None] = [0.8, *([0.9, 0.95] * (count - 1))]
    return sick(
        findings=[finding("vanishing-gradient", "GS105", names[-1]), *victims],
        waterfalls=[waterfall(0, passes, names), waterfall(500, passes, names)],
        coverage=Coverage(sites_seen=count),
    )


def odd_names() -> Report:
    """Names that are markup, Markdown, control sequences, very long, or not ASCII."""
    names = ("[bold]x[/bold]", "a|b`c<b>_d_", "\x1b[31mred\n", ".".join(["module"] * 30), "größe.σ")
    passes: list[float | None] = [0.5] * (2 * len(names) - 1)
    return sick(
        findings=[finding(site=name, text=f"at {name}: z ≤ 0", cause=name) for name in names],
        waterfalls=[waterfall(0, passes, names)],
    )


def with_nan() -> Report:
    report = sick()
    return sick(
        control=Control(metric="r2", mean=NAN, std=NAN, values=[NAN, 0.2], chance=NAN),
        findings=[finding("non-finite", "GS107", evidence={"loss": NAN, "step": None, "largest": float("inf")})],
        fixes=[
            fix("batchnorm-last", [NAN, 0.5], [NAN, 0.2], None, verdict="inconclusive", cost=None),
            report.fixes[0].model_copy(update={"interval": (NAN, 0.5)}),
        ],
        recommended=None,
        waterfalls=[waterfall(0, [NAN, 0.5, None, float("inf"), 1e-30])],
    )


def trace(arm: str = "control", seed: int = 1, records: int = 6, every: int = 10) -> Trace:
    """A trace with three sites of 4, 4 and 2 units and two parameters; the last site closes from the second record on."""
    rng = np.random.default_rng(seed)
    steps = np.arange(records) * every
    units = (4, 4, 2)
    sites = tuple(
        Site(name, np.full(n, name.endswith("relu")), np.full(n, name.endswith("sigmoid")), is_output=name == NAMES[-1])
        for name, n in zip(NAMES, units, strict=True)
    )
    unit_statistics = {name: tuple(rng.random((records, n), dtype=np.float32) for n in units) for name in UNIT_STATISTICS}
    unit_statistics["closed_frac"][2][1:, 0] = 1.0
    known = [name for name in SITE_STATISTICS if name != "remaining"]  # as in traces of before it was measured
    site_statistics = {name: rng.random((records, 3), dtype=np.float32) for name in known}
    site_statistics["weight_transmission"][:, -1] = NAN
    evaluations = np.array([steps[-1]] if records else [], dtype=np.int64)
    return Trace(
        arm=arm,
        seed=seed,
        sites=sites,
        parameters=("0.weight", "0.bias"),
        steps=steps,
        samples=np.full(records, 32),
        unit_statistics=unit_statistics,
        site_statistics=site_statistics,
        parameter_statistics={name: rng.random((records, 2), dtype=np.float32) for name in PARAMETER_STATISTICS},
        output_grad_norm=rng.random(records, dtype=np.float32),
        loss=rng.random(records * every, dtype=np.float32),
        evaluation_steps=evaluations,
        evaluation_metric=np.full(len(evaluations), 0.5, dtype=np.float32),
        evaluation_loss=np.full(len(evaluations), 1.5, dtype=np.float32),
        task=Task(chance=0.1, planned_steps=records * every),
    )


def shortened(whole: Trace, records: int, losses: int, evaluations: int = 0) -> Trace:
    """What the recorder had of `whole` at an earlier flush."""
    return replace(
        whole,
        steps=whole.steps[:records],
        samples=whole.samples[:records],
        unit_statistics={k: tuple(a[:records] for a in v) for k, v in whole.unit_statistics.items()},
        site_statistics={k: v[:records] for k, v in whole.site_statistics.items()},
        parameter_statistics={k: v[:records] for k, v in whole.parameter_statistics.items()},
        output_grad_norm=whole.output_grad_norm[:records],
        loss=whole.loss[:losses],
        evaluation_steps=whole.evaluation_steps[:evaluations],
        evaluation_metric=whole.evaluation_metric[:evaluations],
        evaluation_loss=whole.evaluation_loss[:evaluations],
    )
