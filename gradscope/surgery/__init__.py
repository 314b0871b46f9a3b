"""Fixes on a model of anyone's own: a changed copy, the list of what was replaced, and the lines to write.

>>> import torch
>>> from torch import nn
>>> import gradscope
>>> model = nn.Sequential(nn.Linear(4, 8), nn.Sigmoid(), nn.Linear(8, 3), nn.ReLU())
>>> print(gradscope.apply_fix(model, "batchnorm-last", torch.zeros(2, 4)))
batchnorm-last: batch-norm before the last layer's activation
  3: ReLU() -> Sequential(BatchNorm1d(3), ReLU())
In code:
  model[3] = nn.Sequential(nn.BatchNorm1d(3), model[3])
"""

from __future__ import annotations

import copy

from torch import nn

from gradscope.errors import FixError
from gradscope.fixes import FIXES
from gradscope.recipe_faults import did_you_mean
from gradscope.surgery.activations import SWAPS, drop_output_activation, swap_activations
from gradscope.surgery.applied import AppliedFix, Change
from gradscope.surgery.calls import Example
from gradscope.surgery.hints import HINTS
from gradscope.surgery.inits import INITS, draw_weights
from gradscope.surgery.norms import NORMS, insert_norms

__all__ = ["AppliedFix", "apply_fix"]


def apply_fix(model: nn.Module, fix: str, example: Example = None, *, seed: int = 0) -> AppliedFix:
    """Return a copy of the model with a fix, what was replaced in it, and the lines that do the same in code.

    The model itself stays as it is. The copy lies on the same device, in the same precision and in the same mode; optimizers
    hold the old parameters, so make a new one. Fixes of the training (lower-lr, lr-warmup, clip-gradient, adam, scale-input)
    and residual change no module: their copy is equal and `hint` says what to write.

    Args:
        model: any module.
        fix: one of the names that recipes have for fixes.
        example: an input as the model is called with it (a tensor, a tuple of arguments or a dict of them); by a forward pass
            of a second copy it is seen in which order modules are called and where functions are. Not needed for nested
            `nn.Sequential`s; without it a batch-norm behind `nn.Linear` is one that takes any number of axes. lsuv-init needs
            one, of as many samples as can be.
        seed: of the weights that the inits draw.

    Raises:
        FixError: there is no such fix, the model has nothing that it could change, or what it would change is called as a
            function, which no surgery reaches; the message names where.
    """
    known = {known.slug: known for known in FIXES}
    if fix not in known:
        raise FixError(f"expected one of {', '.join(known)}, got '{fix}'{did_you_mean(fix, known)}")
    try:
        changed = copy.deepcopy(model)
    except Exception as error:
        raise FixError(f"{fix}: the model cannot be copied: {type(error).__name__}: {' '.join(str(error).split())}") from error
    change = _change(changed, fix, example, seed)
    return AppliedFix(fix, known[fix].summary, change.root or changed, change.replaced, change.left, change.hint)


def _change(model: nn.Module, fix: str, example: Example, seed: int) -> Change:
    if fix in HINTS:
        return Change(hint=HINTS[fix])
    if fix in SWAPS:
        return swap_activations(model, fix, example)
    if fix in NORMS:
        return insert_norms(model, fix, example)
    if fix in INITS:
        return draw_weights(model, fix, example, seed)
    assert fix == "drop-output-activation"
    return drop_output_activation(model, fix, example)
