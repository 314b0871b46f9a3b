"""How a recipe trains its network, and at which steps it looks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema

from gradscope.recipe_faults import Fault, Faults, expected
from gradscope.recipe_parts import Expect, Part, choice

MOST_EPOCHS, MOST_SAMPLES = 1_000_000, 2**31 - 1
"""Limits far above any use, so that a slip of the keyboard is a line of text and not a machine that never answers."""

MOMENTUM_OPTIMIZERS = ("sgd", "rmsprop")
OFF = {"warmup": 0.0, "clip": "none"}
"""Values of keys that change nothing."""
CLIP = Expect("a number above 0, or none", choices=("none",), other_words={"off": "none", "no": "none", "false": "none"})


def _clip(value: object) -> object:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if value == "none" or (is_number and 0 < value < float("inf")):  # type: ignore[operator]
        return value
    raise Faults([Fault((), CLIP.got(value))])


class Training(Part):
    """How the network is trained."""

    WHAT: ClassVar[str] = "a mapping such as {optimizer: sgd, lr: 0.01}"
    OTHER_KEYS: ClassVar[Mapping[str, str]] = {
        "learning_rate": "lr", "optimiser": "optimizer", "opt": "optimizer", "batch": "batch_size", "bs": "batch_size",
        "wd": "weight_decay", "criterion": "loss", "objective": "loss", "num_epochs": "epochs", "max_epochs": "epochs",
        "warmup_ratio": "warmup", "warm_up": "warmup", "clip_grad": "clip", "max_norm": "clip", "max_grad_norm": "clip",
    }  # fmt: skip

    optimizer: Annotated[Literal["sgd", "adam", "adamw", "rmsprop"], choice("sgd", "adam", "adamw", "rmsprop")] = "sgd"
    lr: Annotated[float, Field(gt=0, description="Learning rate."), Expect("a finite number above 0")] = 0.01
    momentum: Annotated[
        float, Field(ge=0, lt=1, description="For sgd and rmsprop only."), Expect("a number from 0 to below 1")
    ] = 0.5
    warmup: Annotated[
        float,
        Field(ge=0, le=1, description="Share of the training over which the learning rate rises to lr; 0 for none."),
        Expect("a share of the training from 0 to 1"),
    ] = 0.0
    clip: Annotated[
        float | Literal["none"],
        BeforeValidator(_clip),
        WithJsonSchema({"anyOf": [{"type": "number", "exclusiveMinimum": 0}, {"const": "none"}], "default": "none"}),
        Field(description="Largest norm of a network's gradient; what is longer is scaled down to it."),
        CLIP,
    ] = "none"
    weight_decay: Annotated[float, Field(ge=0), Expect("a finite number of at least 0")] = 0.0
    batch_size: Annotated[int, Field(ge=1, le=MOST_SAMPLES), Expect("a whole number of samples of at least 1")] = 32
    epochs: Annotated[int, Field(ge=1, le=MOST_EPOCHS), Expect(f"a whole number from 1 to {MOST_EPOCHS}")] = 20
    loss: Annotated[
        Literal["cross-entropy", "mse", "bce-with-logits", "nll"],
        Field(description="Taken over the activated output of the last layer."),
        choice("cross-entropy", "mse", "bce-with-logits", "nll", ce="cross-entropy", bce="bce-with-logits",
               CrossEntropyLoss="cross-entropy", BCEWithLogitsLoss="bce-with-logits", MSELoss="mse", NLLLoss="nll"),
    ] = "cross-entropy"  # fmt: skip

    @classmethod
    def cross_faults(cls, raw: Mapping[str, Any]) -> Iterator[Fault]:
        """Yield a momentum that the optimizer would silently ignore."""
        if raw.get("optimizer") in ("adam", "adamw") and "momentum" in raw:
            hint = f"; delete the line, {raw['optimizer']} has betas of its own"
            yield Fault(
                ("momentum",), expected("no momentum, which only sgd and rmsprop use", raw["momentum"], hint), of_key=True
            )

    @property
    def max_norm(self) -> float | None:
        """The norm that gradients are clipped to; None where they are left as they are."""
        return None if isinstance(self.clip, str) else float(self.clip)

    @property
    def uses_momentum(self) -> bool:
        """Whether the optimizer takes `momentum`."""
        return self.optimizer in MOMENTUM_OPTIMIZERS


class Watch(Part):
    """At which steps to look: the default schedule, dense at the start and thinning out, or every so many steps."""

    WHAT: ClassVar[str] = "a mapping such as {schedule: default} or {every: 10}"

    schedule: Annotated[Literal["default"], choice("default")] = "default"
    every: Annotated[int | None, Field(ge=1, le=MOST_SAMPLES), Expect("a whole number of steps of at least 1")] = None

    @classmethod
    def cross_faults(cls, raw: Mapping[str, Any]) -> Iterator[Fault]:
        """Yield a second answer to the same question."""
        if "schedule" in raw and raw.get("every") is not None:
            yield Fault(("every",), "expected either schedule or every, got both", of_key=True)
