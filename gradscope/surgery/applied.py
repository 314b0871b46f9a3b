"""What a fix did to a model."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from torch import nn


class Replacement(NamedTuple):
    """One module of the model, by its path, before and after."""

    path: str
    before: str
    after: str


@dataclass(frozen=True)
class Change:
    """What was done to a copy of the model; `root` where the model itself was what had to be replaced."""

    replaced: tuple[Replacement, ...] = ()
    left: tuple[str, ...] = ()
    hint: str = ""
    root: nn.Module | None = None


@dataclass(frozen=True)
class AppliedFix:
    """A fix on a model; printed, it lists what was replaced and the lines to write."""

    fix: str
    summary: str
    model: nn.Module = field(repr=False)
    """The changed copy; equal to the model where the fix changes no module."""
    replaced: tuple[Replacement, ...]
    left: tuple[str, ...]
    """What the fix should have changed and no surgery reaches: functions, by where they are called."""
    hint: str
    """Lines of code that do the same."""

    def __str__(self) -> str:
        lines = [f"{self.fix}: {self.summary}"]
        lines += [f"  {path or 'the model'}: {before} -> {after}" for path, before, after in self.replaced]
        lines += [f"  left as it is: {text}" for text in self.left]
        return "\n".join([*lines, "In code:", *(f"  {line}" for line in self.hint.splitlines())])


def in_code(path: str) -> str:
    """Return how a module is written in code.

    >>> in_code("net.3.act"), in_code("")
    ('model.net[3].act', 'model')
    """
    parts = (f"[{part}]" if part.isdigit() else f".{part}" for part in path.split(".") if part)
    return "model" + "".join(parts)


def described(module: nn.Module) -> str:
    """Return a module in one line, as it would be written.

    >>> described(nn.Sequential(nn.BatchNorm1d(3), nn.ReLU()))
    'Sequential(BatchNorm1d(3), ReLU())'
    """
    if isinstance(module, nn.Sequential):
        return f"Sequential({', '.join(map(described, module))})"
    if isinstance(module, nn.modules.batchnorm._NormBase):
        return f"{type(module).__name__}({module.num_features})"
    if isinstance(module, nn.LayerNorm):
        return f"LayerNorm({', '.join(map(str, module.normalized_shape))})"
    if isinstance(module, nn.GroupNorm):
        return f"GroupNorm({module.num_groups}, {module.num_channels})"
    return " ".join(repr(module).split())
