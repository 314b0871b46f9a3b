"""The arguments of `gradscope.watch`: checked before anything begins, each fault in one line."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from torch import nn

from gradscope import schedule as schedules
from gradscope.errors import WatchError
from gradscope.rules import RULES, Rule
from gradscope.schedule import Schedule

OWN_SCHEDULE = "own function"


class Chosen(NamedTuple):
    """What to look at, when, and what to judge by."""

    schedule: Schedule
    schedule_name: str
    patterns: tuple[str, ...]
    rules: tuple[type[Rule], ...]


def check_arguments(
    *,
    model: object,
    log_dir: object,
    schedule: object,
    every: object,
    sites: object,
    rules: object,
    on_finding: object,
    names: object,
) -> Chosen:
    """Return the chosen schedule, patterns and rules; see `gradscope.watch`.

    Raises:
        WatchError: an argument that cannot be used.
    """
    if not isinstance(model, nn.Module):
        raise WatchError(f"watch: model: expected a torch.nn.Module, got {type(model).__name__}")
    if not callable(on_finding) and on_finding not in ("warn", "raise", "ignore"):
        raise WatchError(f"watch: on_finding: expected 'warn', 'raise', 'ignore' or a function, got {on_finding!r}")
    if log_dir is not None and not isinstance(log_dir, str | os.PathLike):
        raise WatchError(f"watch: log_dir: expected the path of a folder, got {type(log_dir).__name__}")
    _check_names(names)
    return Chosen(*_schedule(schedule, every), _patterns(sites), _rules(rules))


def _schedule(schedule: object, every: object) -> tuple[Schedule, str]:
    if schedule is not None and every is not None:
        raise WatchError("watch: expected either schedule or every, got both")
    if every is not None:
        if isinstance(every, bool) or not isinstance(every, int) or every < 1:
            raise WatchError(f"watch: every: expected a whole number of steps of at least 1, got {every!r}")
        return schedules.every(every), f"every {every}"
    if schedule is None:
        return schedules.default, "default"
    if not callable(schedule):
        raise WatchError(f"watch: schedule: expected a function of the step, got {type(schedule).__name__}")
    return schedule, OWN_SCHEDULE


def _patterns(sites: object) -> tuple[str, ...]:
    patterns = (sites,) if isinstance(sites, str) else sites
    if not isinstance(patterns, list | tuple | set | frozenset):
        raise WatchError(f"watch: sites: expected patterns such as 'encoder.*', got {type(sites).__name__}")
    for pattern in patterns:
        if not isinstance(pattern, str):
            raise WatchError(f"watch: sites: expected patterns such as 'encoder.*', got {pattern!r} among them")
    return tuple(patterns)


def _rules(rules: object) -> tuple[type[Rule], ...]:
    if rules is None:
        return tuple(RULES)
    expected = "watch: rules: expected classes of rules, such as [gradscope.rules.dead_layer.DeadLayer], got"
    if isinstance(rules, str) or not isinstance(rules, Sequence):
        raise WatchError(f"{expected} {rules!r}")
    for rule in rules:
        if not (isinstance(rule, type) and issubclass(rule, Rule)):
            found = repr(rule) if isinstance(rule, str) else f"an instance of {type(rule).__name__}"
            raise WatchError(f"{expected} {rule.__name__ if isinstance(rule, type) else found} among them")
    if not rules:
        raise WatchError(f"{expected} none")
    return tuple(rules)


def _check_names(names: object) -> None:
    if names is None:
        return
    if not isinstance(names, Mapping):
        raise WatchError(f"watch: names: expected a mapping of modules' paths to names, got {type(names).__name__}")
    for path, name in names.items():
        if not (isinstance(path, str) and isinstance(name, str)):
            raise WatchError(f"watch: names: expected a mapping of modules' paths to names, got {path!r}: {name!r} in it")
