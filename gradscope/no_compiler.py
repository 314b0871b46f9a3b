"""A process that trains without ever loading torch's compiler, which costs a second and 100 MB in each."""

from __future__ import annotations

from torch.optim import Optimizer

MARK = "__dynamo_disable"
"""Under it torch keeps the form of a function that its compiler leaves alone, which it loads the compiler to make."""


def leave_the_compiler_out() -> None:
    """Let optimizers be made without loading torch's compiler; for processes that compile nothing.

    Where torch keeps such forms elsewhere, nothing changes: the compiler is loaded with the first optimizer, as usual.
    """
    for name in ("add_param_group", "zero_grad"):
        plain = getattr(getattr(Optimizer, name, None), "__wrapped__", None)
        if plain is not None and not hasattr(plain, MARK):
            setattr(plain, MARK, plain)
