"""Faults of a recipe in our own words: at which key, what was expected, what was found, what was probably meant.

The pieces that activations, recipe and recipe file share. A fault knows its keys, `Positions` turns keys into lines of the
file, so that a recipe from a file, from code or changed on the command line are checked by the same models.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

Keys = tuple[str | int, ...]

LONGEST_SHOWN = 60
"""Characters of a wrong value that a message repeats; enough to recognise it, short enough for one line."""


class Fault(NamedTuple):
    """One thing wrong with a recipe; `of_key` where the key itself is wrong and not its value."""

    keys: Keys
    text: str
    of_key: bool = False


class Faults(ValueError):
    """Several faults of one value, on their way through pydantic, which sees an ordinary ValueError."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults = tuple(faults)
        super().__init__("; ".join(f"{key_text(fault.keys)}: {fault.text}" for fault in self.faults))


@dataclass(frozen=True)
class Positions:
    """Where each key of a recipe stands: in a file, on the command line, or nowhere for a recipe built in code.

    Compares equal to any other, since two recipes do not differ by the lines they stand on.
    """

    file: str | None = None
    folder: Path | None = None
    marks: Mapping[Keys, tuple[int, int]] = field(default_factory=dict)
    key_marks: Mapping[Keys, tuple[int, int]] = field(default_factory=dict)
    options: Mapping[Keys, str] = field(default_factory=dict)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Positions)

    def __hash__(self) -> int:
        return hash(Positions)

    def option(self, keys: Keys) -> str | None:
        """Return the option of the command line that set `keys` or something above it."""
        return next((self.options[keys[:n]] for n in range(len(keys), 0, -1) if keys[:n] in self.options), None)

    def mark(self, keys: Keys, of_key: bool = False) -> tuple[int, int]:
        """Return line and column of `keys`, or of the nearest thing around it that the file has."""
        if of_key and keys in self.key_marks:
            return self.key_marks[keys]
        return next((self.marks[keys[:n]] for n in range(len(keys), -1, -1) if keys[:n] in self.marks), (1, 1))

    def where(self, keys: Keys, of_key: bool = False) -> str:
        """Return `file:line:col`, the option, or the key path where there is no file."""
        option = self.option(keys)
        if option or self.file is None:
            return option or key_text(keys)
        line, column = self.mark(keys, of_key)
        return f"{self.file}:{line}:{column}"

    def lines(self, faults: Iterable[Fault]) -> list[str]:
        """Return one line for each fault, in the order of the file, the first of several at one key only."""
        first = {(fault.keys, fault.of_key): fault for fault in reversed(list(faults))}.values()
        ordered = sorted(reversed(list(first)), key=lambda fault: self.mark(fault.keys, fault.of_key))
        return [self._line(fault) for fault in ordered]

    def _line(self, fault: Fault) -> str:
        where = self.where(fault.keys, fault.of_key)
        named_already = self.file is None or self.option(fault.keys) is not None
        return f"{where}: {fault.text}" if named_already else f"{where}: {key_text(fault.keys)}: {fault.text}"


def key_text(keys: Keys) -> str:
    """Return keys as people write them.

    >>> key_text(("stack", "activations", 1, "relu")), key_text(())
    ('stack.activations[1].relu', 'recipe')
    """
    text = ""
    for key in keys:
        plain = isinstance(key, int) or re.fullmatch(r"[\w.:-]{1,60}", key)
        text += f"[{key}]" if isinstance(key, int) else f".{key if plain else show(key)}"
    return text.removeprefix(".") or "recipe"


def show(value: object) -> str:
    """Return a wrong value as it may stand in a message: one line, short, nothing that moves a terminal's cursor.

    >>> show("rleu"), show(None), show(True), show([1, 2])
    ("'rleu'", 'nothing', 'true', '[1, 2]')
    """
    match value:
        case None:
            return "nothing"
        case bool():
            return str(value).lower()
        case str():
            return repr(value if len(value) <= LONGEST_SHOWN else value[: LONGEST_SHOWN - 3] + "...")
        case int() if value.bit_length() > 200:
            return "a number far too large"
        case int() | float():
            return repr(value)
        case Mapping():
            inner = ", ".join(f"{key}: {show(item)}" for key, item in list(value.items())[:9])
            return f"{{{inner}}}" if len(inner) + 2 <= LONGEST_SHOWN and inner.isprintable() else "a mapping"
        case list() | tuple():
            inner = ", ".join(map(show, value[:30]))
            return f"[{inner}]" if len(inner) + 2 <= LONGEST_SHOWN and len(value) <= 30 else f"a list of {len(value)}"
        case _:
            return f"an object of type {type(value).__name__}"


def expected(what: str, value: object, hint: str = "") -> str:
    """Return `expected ..., got ...` with a hint behind it."""
    return f"expected {what}, got {show(value)}{hint}"


def one_of(choices: Sequence[str]) -> str:
    """Return the choices as words.

    >>> one_of(["a", "b", "c"])
    'a, b or c'
    """
    return " or ".join([", ".join(choices[:-1]), choices[-1]]) if len(choices) > 1 else choices[0]


def did_you_mean(word: object, choices: Iterable[str], known: Mapping[str, str] | None = None) -> str:
    """Return `; did you mean '...'?` for the choice nearest to `word`, or nothing where none is near.

    `known` holds other tools' words for our choices; "" for one that there is no choice for, however near some are.

    >>> did_you_mean("Batch_Norm-All", ["batchnorm-all", "none"])
    "; did you mean 'batchnorm-all'?"
    >>> did_you_mean("tpu", ["cpu", "cuda"], {"tpu": ""})
    ''
    """
    if not isinstance(word, str) or len(word) > LONGEST_SHOWN:
        return ""
    plain = {_plain(choice): choice for choice in choices}
    plain |= {_plain(other): choice for other, choice in (known or {}).items()}
    near = difflib.get_close_matches(_plain(word), plain, n=1, cutoff=0.6)
    return f"; did you mean '{plain[near[0]]}'?" if near and plain[near[0]] else ""


def _plain(word: str) -> str:
    return re.sub(r"[\s_.-]", "", word.lower().removeprefix("torch.").removeprefix("nn."))
