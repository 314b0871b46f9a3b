"""The fixes, one a file, the smaller change first."""

from gradscope.errors import CodeError
from gradscope.fixes.base import Fix
from gradscope.fixes.batchnorm_all import BatchnormAll
from gradscope.fixes.batchnorm_last import BatchnormLast
from gradscope.user_code import load_reference, running_user_code

FIXES: tuple[type[Fix], ...] = (BatchnormLast, BatchnormAll)

__all__ = ["FIXES", "Fix", "find_fix"]


def find_fix(name: str, *, allow_code: bool, where: str = "") -> Fix:
    """Return a fix by its slug, or the user's own by `package.module:Class`.

    Raises:
        CodeError: the user's class may not be loaded, or is no fix.
    """
    for known in FIXES:
        if known.slug == name:
            return known()
    found = load_reference(name, allowed=allow_code, where=where)
    if not (isinstance(found, type) and issubclass(found, Fix)):
        raise CodeError(f"{where}: '{name}': expected a class derived from gradscope.fixes.Fix, got {type(found).__name__}")
    with running_user_code(f"{where}: '{name}'"):
        fix = found()
        _ = fix.slug, fix.summary  # a fix without them fails here, not after the training
    return fix
