"""The base of a recipe's models: every fault of a value at once, in words that do not depend on pydantic's.

Each field says by `Expect` what belongs there. Whatever pydantic finds wrong with it, the message is `expected <that>, got
<what was found>`; checks across fields run even where single fields are faulty, so that nobody mends a recipe in rounds.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError, model_validator

from gradscope.recipe_faults import Fault, Faults, Keys, did_you_mean, expected, one_of
from gradscope.user_code import is_reference


@dataclass(frozen=True)
class Expect:
    """What belongs into a field (`item`: into its list), its choices, and other words that people use for them."""

    what: str
    item: str = ""
    choices: tuple[str, ...] = ()
    other_words: Mapping[str, str] = field(default_factory=dict)

    def got(self, value: object, *, of_item: bool = False) -> str:
        """Return the text of a fault with `value` in this field, or in its list."""
        what = self.item if of_item and self.item else self.what
        if isinstance(value, str) and value in self.choices:
            return expected(what, value, f"; did you mean [{value}]?")
        hint = did_you_mean(_as_word(value), self.choices, self.other_words)
        if isinstance(value, str) and re.search("number|count", what) and _is_number(value):
            hint = "; write it without quotes"
        return expected(what, value, hint)


class Part(BaseModel):
    """A mapping of a recipe."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    WHAT: ClassVar[str] = "a mapping"
    OTHER_KEYS: ClassVar[Mapping[str, str]] = {}

    @classmethod
    def cross_faults(cls, raw: Mapping[str, Any]) -> Iterator[Fault]:
        """Yield what is wrong between fields; `raw` is not checked yet, any field may be anything or absent."""
        yield from ()

    @classmethod
    def completed(cls, raw: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return `raw` with the defaults that depend on other fields."""
        return raw

    @model_validator(mode="wrap")
    @classmethod
    def _check(cls, value: object, handler: Callable[[object], Part]) -> Part:
        across = list(cls.cross_faults(value)) if isinstance(value, Mapping) else []
        try:
            part = handler(cls.completed(value) if isinstance(value, Mapping) else value)
        except ValidationError as error:
            raise Faults([*cls._in_our_words(error), *across]) from error
        if across:
            raise Faults(across)
        return part

    @classmethod
    def checked(cls, name: str, value: object) -> object:
        """Return the value of one field alone, checked as within the whole.

        Raises:
            Faults: it does not belong there; their keys are those within the value.
        """
        try:
            return _validator(cls, name)(value)
        except ValidationError as error:
            found = cls._in_our_words(error, (name,))
            raise Faults(fault._replace(keys=fault.keys[1:]) for fault in found) from error

    @classmethod
    def _in_our_words(cls, error: ValidationError, around: Keys = ()) -> Iterator[Fault]:
        for detail in error.errors(include_url=False):
            keys, value = (*around, *detail["loc"]), detail["input"]
            cause = detail.get("ctx", {}).get("error")
            name = str(keys[0]) if keys else ""
            if isinstance(cause, Faults):
                yield from (fault._replace(keys=(*keys, *fault.keys)) for fault in cause.faults)
            elif not keys:
                yield Fault((), expected(cls.WHAT, value))
            elif name not in cls.model_fields:
                yield Fault(keys, cls._unknown(name), of_key=True)
            else:
                missing = detail["type"] == "missing"
                yield Fault(keys, cls._expect(name).got(None if missing else value, of_item=len(keys) > 1))

    @classmethod
    def _unknown(cls, name: str) -> str:
        return expected(f"one of {', '.join(cls.model_fields)}", name, did_you_mean(name, cls.model_fields, cls.OTHER_KEYS))

    @classmethod
    def _expect(cls, name: str) -> Expect:
        metadata = cls.model_fields[name].metadata
        return next((item for item in metadata if isinstance(item, Expect)), Expect("another value"))


@cache
def _validator(part: type[Part], name: str) -> Callable[[object], object]:
    field = part.model_fields[name]
    hint: Any = Annotated[(field.annotation, *field.metadata)]
    return TypeAdapter(hint, config=ConfigDict(strict=True, allow_inf_nan=False)).validate_python


def faults_of(error: ValidationError) -> list[Fault]:
    """Return the faults that an error of a `Part` carries."""
    found: list[Fault] = []
    for detail in error.errors(include_url=False):
        cause = detail.get("ctx", {}).get("error")
        found += cause.faults if isinstance(cause, Faults) else [Fault(detail["loc"], "expected another value")]
    return found


def parsed(parse: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Wrap a validator that may raise a ValidationError of another `Part`, so that it raises its Faults."""

    def wrapped(value: object) -> object:
        try:
            return parse(value)
        except ValidationError as error:
            raise Faults(faults_of(error)) from error

    return wrapped


def names(value: object, expect: Expect, *, reference: bool = False) -> object:
    """Return a list of different names as a tuple; anything else than a list is left for pydantic.

    Raises:
        Faults: an item is not one of the choices, nor a reference where one is allowed, or stands there twice.
    """
    if not isinstance(value, list | tuple):
        raise Faults([Fault((), expect.got(value))])
    faults = [
        Fault((i,), expect.got(item, of_item=True))
        for i, item in enumerate(value)
        if not (isinstance(item, str) and (item in expect.choices or (reference and is_reference(item))))
    ]
    raise_if(faults or repeated(value))
    return tuple(value)


def as_tuple(value: object) -> object:
    """Return a list as a tuple; strict models take no lists, which could be changed later."""
    return tuple(value) if isinstance(value, list) else value


def repeated(value: Iterable[object]) -> list[Fault]:
    """Return a fault for each item that stands in the list before."""
    items = list(value)
    return [Fault((i,), expected("each only once", item)) for i, item in enumerate(items) if item in items[:i]]


def raise_if(faults: Iterable[Fault]) -> None:
    """Raise faults, if there are any.

    Raises:
        Faults: there are some.
    """
    if found := list(faults):
        raise Faults(found)


def choice(*choices: str, **other_words: str) -> Expect:
    """Return the Expect of a field that takes one of a few words."""
    return Expect(f"one of {one_of(choices)}" if len(choices) > 1 else choices[0], choices=choices, other_words=other_words)


def _as_word(value: object) -> object:
    return str(value).lower() if isinstance(value, bool) else value


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False
