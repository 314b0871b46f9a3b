"""What a test asks of a check: the fixture's arguments, else the marker's; checked, with messages in one line."""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gradscope.errors import WatchError
from gradscope.rules import RULES, Rule

HEALTHY = "healthy"
BATCH_SIZE = 32
SEEDS_OF_A_FUNCTION = 3  # the fewest of which a majority can outvote one
NAMES = ("loss", "optimizer", "steps", "seeds", "expect", "name", "sites", "rules", "batch_size", "allow_code")


@dataclass(frozen=True)
class Options:
    """The arguments of one check; None is what nobody gave."""

    loss: Any = None
    optimizer: Any = None
    steps: int | None = None
    seeds: tuple[int, ...] | None = None
    expect: tuple[str, ...] | None = None
    name: str | None = None
    sites: Any = ()
    rules: tuple[type[Rule], ...] | None = None
    batch_size: int | None = None
    allow_code: bool = False


def options_of(given: Mapping[str, Any], marked: Mapping[str, Any]) -> Options:
    """Return the options of a check.

    Args:
        given: the fixture's arguments; None where the test gave none.
        marked: the marker's.

    Raises:
        WatchError: an argument that there is not, or a value that does not fit.
    """
    for name in marked:
        if name not in NAMES:
            near = difflib.get_close_matches(name, NAMES, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise WatchError(f"marker gradscope: expected arguments among {', '.join(NAMES)}, got {name}{hint}")
    chosen = {**marked, **{name: value for name, value in given.items() if value is not None}}
    for name in ("loss", "optimizer"):
        _expect_function(name, chosen.get(name))
    expect, rules = _expected(chosen.get("expect")), _rules(chosen.get("rules"))
    unasked = [name for name in expect or () if rules and name not in (HEALTHY, *(rule.slug for rule in rules))]
    if unasked:
        raise WatchError(f"expect: expected rules that are judged by, got {unasked[0]}, which is not among rules=")
    return Options(
        loss=chosen.get("loss"),
        optimizer=chosen.get("optimizer"),
        steps=_count("steps", chosen.get("steps")),
        seeds=_seeds(chosen.get("seeds")),
        expect=expect,
        name=_name(chosen.get("name")),
        sites=chosen.get("sites") or (),
        rules=rules,
        batch_size=_count("batch_size", chosen.get("batch_size")),
        allow_code=bool(chosen.get("allow_code")),
    )


def _expect_function(name: str, value: object) -> None:
    if value is None or callable(value):
        return
    example = "torch.nn.functional.mse_loss" if name == "loss" else "lambda parameters: torch.optim.Adam(parameters, lr=1e-3)"
    raise WatchError(f"{name}: expected a function, such as {example}, got a {type(value).__name__}")


def _count(name: str, value: object) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise WatchError(f"{name}: expected a whole number of at least 1, got {value!r}")
    return value


def _seeds(value: object) -> tuple[int, ...] | None:
    """Return the seeds; a count stands for those from 1 on, as in a recipe."""
    if value is None:
        return None
    if isinstance(value, int) and not isinstance(value, bool) and value >= 1:
        return tuple(range(1, value + 1))
    if isinstance(value, list | tuple | range) and value and all(map(_is_seed, value)) and len(set(value)) == len(value):
        return tuple(value)
    raise WatchError(f"seeds: expected a count, or a list of different whole numbers, got {value!r}")


def _is_seed(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**31


def _expected(value: object) -> tuple[str, ...] | None:
    if value is None:
        return None
    if value in (HEALTHY, [HEALTHY], (HEALTHY,)):
        return (HEALTHY,)
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, Sequence) or not names:
        raise WatchError(f"expect: expected 'healthy' or a list of rules, such as ['output-collapse'], got {value!r}")
    return tuple(dict.fromkeys(_rule("expect", name, f"'{HEALTHY}' or a list of rules among").slug for name in names))


def _rules(value: object) -> tuple[type[Rule], ...] | None:
    if value is None:
        return None
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, Sequence) or not names:
        raise WatchError(f"rules: expected a list of rules, such as ['output-collapse'], got {value!r}")
    return tuple(dict.fromkeys(_rule("rules", name, "rules among") for name in names))


def _rule(argument: str, name: object, expected: str) -> type[Rule]:
    if isinstance(name, type) and issubclass(name, Rule):
        return name
    known = {key: rule for rule in RULES for key in (rule.slug, rule.code)}
    if isinstance(name, str) and name in known:
        return known[name]
    near = difflib.get_close_matches(str(name), known, n=1)
    hint = f"; did you mean '{near[0]}'?" if near else ""
    raise WatchError(f"{argument}: expected {expected} {', '.join(rule.slug for rule in RULES)}, got {name!r}{hint}")


def _name(value: object) -> str | None:
    if value is None:
        return None
    if isinstance(value, str) and value.strip():
        return value
    raise WatchError(f"name: expected a text, got {value!r}")


def is_recipe(model: object) -> bool:
    """Tell whether what is to be checked is the path of a recipe."""
    return isinstance(model, str | os.PathLike)
