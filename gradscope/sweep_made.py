"""What trained the networks of a sweep: more than one thing where it was begun elsewhere and went on here.

A key says which network it is and which precision and steps it had. Version and device are no part of it: results are not
thrown away for them, but whoever reads them is told.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

TOLD = {"gradscope": "by gradscope {}", "torch": "with torch {}", "device": "on {}"}
"""Conditions under which the same network may come to another number, or be judged otherwise."""


def described(made: Mapping[str, object]) -> str:
    """Return conditions as a line.

    >>> described({"gradscope": "0.1.0", "torch": "2.6.0", "device": "cuda", "precision": "bf16", "steps": 20})
    'gradscope 0.1.0, torch 2.6.0, cuda, bf16, at most 20 steps of each network'
    """
    words = [f"{name} {made[name]}" for name in ("gradscope", "torch")] + [f"{made[name]}" for name in ("device", "precision")]
    return ", ".join(words + ([f"at most {made['steps']} steps of each network"] if "steps" in made else []))


def made_of(conditions: Iterable[Mapping[str, object]], names: Iterable[str]) -> dict[str, str]:
    """Return under what the networks of a result were trained: for each name all that differ, sorted.

    Args:
        conditions: those of each network.
        names: the conditions to name.

    >>> made_of([{"device": "cuda"}, {"device": "cpu"}, {"device": "cuda"}], ["device", "steps"])
    {'device': 'cpu, cuda'}
    """
    found = list(conditions)
    values = {name: sorted({str(each[name]) for each in found if name in each}) for name in names}
    return {name: ", ".join(of_name) for name, of_name in values.items() if of_name}


def others(conditions: Iterable[Mapping[str, object]], now: Mapping[str, object]) -> list[str]:
    """Return, for each way in which networks were trained otherwise than they would be now, how many and how.

    >>> others([{"gradscope": "0.1.0", "device": "cuda"}] * 3, {"gradscope": "0.2.0", "device": "cuda"})
    ['3 networks were trained by gradscope 0.1.0']
    """
    told = Counter(
        " and ".join(text.format(each[name]) for name, text in TOLD.items() if name in each and each[name] != now.get(name))
        for each in conditions
    )
    return [f"{count} {'networks were' if count > 1 else 'network was'} trained {how}" for how, count in told.items() if how]
