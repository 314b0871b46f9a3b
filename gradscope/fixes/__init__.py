"""The fixes, one a file, the smaller change first."""

from collections.abc import Sequence

from gradscope.errors import CodeError
from gradscope.fixes.adam import Adam
from gradscope.fixes.base import Fix
from gradscope.fixes.batchnorm_all import BatchnormAll
from gradscope.fixes.batchnorm_last import BatchnormLast
from gradscope.fixes.centre_sigmoid import CentreSigmoid
from gradscope.fixes.choice import choose
from gradscope.fixes.clip_gradient import ClipGradient
from gradscope.fixes.drop_output_activation import DropOutputActivation
from gradscope.fixes.gelu import Gelu
from gradscope.fixes.he_init import HeInit
from gradscope.fixes.layernorm_all import LayernormAll
from gradscope.fixes.leaky_relu import LeakyRelu
from gradscope.fixes.lower_lr import LowerLr
from gradscope.fixes.lr_warmup import LrWarmup
from gradscope.fixes.lsuv_init import LsuvInit
from gradscope.fixes.placebo import Placebo
from gradscope.fixes.residual import Residual
from gradscope.fixes.scale_input import ScaleInput
from gradscope.fixes.swap_sigmoid_tanh import SwapSigmoidTanh
from gradscope.fixes.xavier_init import XavierInit
from gradscope.recipe import Recipe
from gradscope.report import Finding
from gradscope.user_code import load_reference, running_user_code

FIXES: tuple[type[Fix], ...] = (
    LowerLr, LrWarmup, ClipGradient, Adam, ScaleInput, HeInit, XavierInit, LsuvInit, DropOutputActivation, LeakyRelu, Gelu,
    CentreSigmoid, SwapSigmoidTanh, BatchnormLast, BatchnormAll, LayernormAll, Residual,
)  # fmt: skip

__all__ = ["FIXES", "Fix", "Placebo", "find_fix", "fixes_for", "left_out"]


def find_fix(name: str, *, allow_code: bool, where: str = "") -> Fix:
    """Return a fix by its slug (the placebo has one, too), or the user's own by `package.module:Class`.

    Raises:
        CodeError: the user's class may not be loaded, or is no fix.
    """
    every: tuple[type[Fix], ...] = (*FIXES, Placebo)
    for known in every:
        if known.slug == name:
            return known()
    found = load_reference(name, allowed=allow_code, where=where)
    if not (isinstance(found, type) and issubclass(found, Fix)):
        raise CodeError(f"{where}: '{name}': expected a class derived from gradscope.fixes.Fix, got {type(found).__name__}")
    with running_user_code(f"{where}: '{name}'"):
        fix = found()
        _ = fix.slug, fix.summary  # a fix without them fails here, not after the training
    return fix


def fixes_for(findings: Sequence[Finding], recipe: Recipe) -> list[str]:
    """Return the fixes that suit what was found, the smaller change first: what `fixes: auto` tries. See `choice.choose`."""
    return choose(FIXES, findings, recipe)


def left_out(recipe: Recipe, names: Sequence[str]) -> list[str]:
    """Return a line for each of gradscope's fixes that would change nothing in the recipe, and is not tried."""
    known = {fix.slug: fix() for fix in FIXES}
    named = [known[name] for name in names if name in known]
    return [f"{fix.slug} was not tried: it needs {fix.needs}" for fix in named if not fix.changes(recipe)]
