"""YAML text to plain data with the position of each key, safe for files that nobody has read before.

PyYAML composes the nodes; the values are made here. So three of its surprises never arise: `1e-3` is a number, `off` and `no`
are words (YAML 1.2's rules), and a duplicate key is a fault instead of a silent overwrite. Nothing but plain values is built.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from gradscope.recipe_faults import Fault, Keys, show

MOST_NODES = 10_000
"""Values in a file, aliases written out; the longest list of seeds that is allowed takes a tenth."""
DEEPEST = 20
"""Levels of nesting; a recipe has six."""

PREFIX = "tag:yaml.org,2002:"
NULL, BOOL, INT, FLOAT, STR = (PREFIX + name for name in ("null", "bool", "int", "float", "str"))
SPECIAL_FLOAT = re.compile(r"([-+]?)\.(inf|nan)", re.IGNORECASE)


class TooMuch(yaml.MarkedYAMLError):
    """More values or levels than a recipe can have."""


class _Loader(yaml.SafeLoader):
    """Composes nodes with YAML 1.2's words for null, truth values and numbers; counts them."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012  # the resolvers of YAML 1.1 are not inherited

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.count = self.level = 0

    def compose_node(self, parent: Node | None, index: object) -> Node | None:
        self.count += 1
        self.level += 1
        mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
        if self.count > MOST_NODES:
            raise TooMuch(problem=f"expected at most {MOST_NODES} values, got more", problem_mark=mark)
        if self.level > DEEPEST:
            raise TooMuch(problem=f"expected at most {DEEPEST} levels of nesting, got more", problem_mark=mark)
        node = super().compose_node(parent, index)  # type: ignore[arg-type]  # PyYAML passes numbers, nodes and None
        self.level -= 1
        return node


for _tag, _pattern, _first in (
    (NULL, r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    (BOOL, r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    (INT, r"[-+]?[0-9]+", list("-+0123456789")),
    (FLOAT, r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)", list("-+.0123456789")),
):
    _Loader.add_implicit_resolver(_tag, re.compile(rf"(?:{_pattern})\Z"), _first)


@dataclass
class Document:
    """The data of a file with the position of every value and key, and the faults found on the way."""

    data: object = None
    marks: dict[Keys, tuple[int, int]] = field(default_factory=dict)
    key_marks: dict[Keys, tuple[int, int]] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    nulls: list[Keys] = field(default_factory=list)
    count: int = 0


def read_yaml(text: str) -> Document:
    """Return the single document of `text`.

    Raises:
        yaml.YAMLError: the text is no YAML, more than one document, or more than a recipe can be.
    """
    document = Document()
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
    except (ValueError, OverflowError) as error:  # PyYAML passes an impossible escape such as "\UFFFFFFFF" to chr()
        raise yaml.YAMLError("found an impossible escape sequence") from error
    finally:
        loader.dispose()
    if node is not None:
        document.data = _value(node, (), document, ())
    return document


def _value(node: Node, keys: Keys, document: Document, around: tuple[int, ...]) -> object:
    """Return the value of `node`; `around` are the nodes that contain it, of which none may come again within."""
    document.count += 1
    if document.count > MOST_NODES:
        problem = f"expected at most {MOST_NODES} values with all aliases written out, got more"
        raise TooMuch(problem=problem, problem_mark=node.start_mark)
    if id(node) in around or len(around) > DEEPEST:
        problem = "expected an alias of a finished value, got one that contains itself or nests too deep"
        raise TooMuch(problem=problem, problem_mark=node.start_mark)
    document.marks[keys] = _mark(node)
    inside = (*around, id(node))
    if isinstance(node, SequenceNode) and node.tag == PREFIX + "seq":
        return [_value(item, (*keys, i), document, inside) for i, item in enumerate(node.value)]
    if isinstance(node, MappingNode) and node.tag == PREFIX + "map":
        return _mapping(node, keys, document, inside)
    if isinstance(node, ScalarNode) and node.tag in (NULL, BOOL, INT, FLOAT, STR):
        if node.tag == NULL:
            document.nulls.append(keys)
        return _scalar(node.tag, node.value)
    tag = node.tag.replace(PREFIX, "!!", 1)
    document.faults.append(Fault(keys, f"expected a plain value, got one with the tag {show(tag)}; remove the tag"))
    return None


def _mapping(node: MappingNode, keys: Keys, document: Document, inside: tuple[int, ...]) -> dict[str, object]:
    found: dict[str, object] = {}
    for key_node, value_node in node.value:
        key = _scalar(key_node.tag, key_node.value) if isinstance(key_node, ScalarNode) else None
        if not isinstance(key, str) or key == "<<":
            what = (
                "the merge key '<<'; write its keys out" if key == "<<" else show(key) if key is not None else "something else"
            )
            wrong = (*keys, key_node.value if isinstance(key_node, ScalarNode) else "?")
            document.key_marks[wrong] = _mark(key_node)
            document.faults.append(Fault(wrong, f"expected a word as key, got {what}", of_key=True))
            continue
        inner = (*keys, key)
        if key in found:
            first = document.key_marks[inner][0]
            document.key_marks[inner] = _mark(key_node)
            document.faults.append(
                Fault(inner, f"expected each key only once, got it again; first on line {first}", of_key=True)
            )
        else:
            document.key_marks[inner] = _mark(key_node)
        found[key] = _value(value_node, inner, document, inside)
    return found


def _scalar(tag: str, text: str) -> object:
    if tag == NULL:
        return None
    if tag == BOOL:
        return text.lower() == "true"
    try:
        if tag == INT and len(text) <= 300:  # int() refuses thousands of digits, float() makes them infinite
            return int(text)
        if tag in (INT, FLOAT):
            special = SPECIAL_FLOAT.fullmatch(text)
            return float(special[1] + special[2]) if special else float(text)
    except ValueError:  # an explicit tag: !!int many
        return text
    return text


def _mark(node: Node) -> tuple[int, int]:
    return node.start_mark.line + 1, node.start_mark.column + 1
