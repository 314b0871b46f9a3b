"""Where to compute."""

from __future__ import annotations

import torch

from gradscope.recipe import Recipe


def choose_device(recipe: Recipe) -> torch.device:
    """Return the recipe's device; `auto` is cuda, then mps, then cpu.

    Raises:
        RecipeError: a device is asked for that this machine does not have.
    """
    asked = recipe.device
    if asked == "auto":
        found = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
        return torch.device(found)
    device = torch.device(asked)
    if device.type == "cuda" and not (torch.cuda.is_available() and (device.index or 0) < torch.cuda.device_count()):
        raise recipe.fault(
            f"expected a device of this machine, got {asked}; it has {_present()}, auto takes the best", "device"
        )
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise recipe.fault(f"expected a device of this machine, got mps; it has {_present()}, auto takes the best", "device")
    return device


def _present() -> str:
    names = ["cpu"] + ["mps"] * torch.backends.mps.is_available()
    return ", ".join(names + [f"cuda:{i}" for i in range(torch.cuda.device_count())])
