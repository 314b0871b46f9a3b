"""Activations replaced by others, or taken off the output."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch.fx
from torch import nn

from gradscope.activation_functions import ACTIVATIONS
from gradscope.elementwise import CentredSigmoid
from gradscope.errors import FixError
from gradscope.surgery.applied import Change, Replacement, described, in_code
from gradscope.surgery.calls import Call, Example, calls_of
from gradscope.surgery.slots import slots_of, slots_with


class Swap(NamedTuple):
    """One activation for another: class, name of the function, what comes instead, and how both are written in code."""

    old: type[nn.Module]
    function: str
    make: Callable[[nn.Module], nn.Module]
    new: str
    new_function: str


SWAPS: Mapping[str, Swap] = {
    "leaky-relu": Swap(
        nn.ReLU, "relu", lambda old: nn.LeakyReLU(0.01, inplace=bool(old.inplace)), "nn.LeakyReLU(0.01)", "F.leaky_relu(z)"
    ),
    "gelu": Swap(nn.ReLU, "relu", lambda old: nn.GELU(), "nn.GELU()", "F.gelu(z)"),
    "centre-sigmoid": Swap(
        nn.Sigmoid, "sigmoid", lambda old: CentredSigmoid(), "gradscope.elementwise.CentredSigmoid()", "torch.tanh(z / 2)"
    ),
    "swap-sigmoid-tanh": Swap(nn.Sigmoid, "sigmoid", lambda old: nn.Tanh(), "nn.Tanh()", "torch.tanh(z)"),
}


def swap_activations(model: nn.Module, fix: str, example: Example) -> Change:
    """Replace every module of one activation; one that stands in several places stays one.

    Raises:
        FixError: there is none, or only functions.
    """
    swap = SWAPS[fix]
    made: dict[int, nn.Module] = {}
    replaced: list[Replacement] = []
    left, are_known = _functions(model, fix, example)
    for slot in list(slots_of(model)):
        if type(slot.child) is swap.old:
            new = made.setdefault(id(slot.child), swap.make(slot.child).train(slot.child.training))
            slot.put(new)
            replaced.append(Replacement(slot.path, described(slot.child), described(new)))
    root = swap.make(model).train(model.training) if type(model) is swap.old else None
    if root is not None:
        replaced.append(Replacement("", described(model), described(root)))
    if not replaced:
        raise FixError(_nothing(fix, swap, left, are_known))
    lines = [f"{in_code(change.path)} = {swap.new}" for change in replaced]
    lines += [f"{swap.new_function}  # instead of {swap.function}, in {in_code(path)}" for path in left]
    unseen = [] if are_known else ["functions, if there are any: they are seen only with an example input"]
    return Change(tuple(replaced), (*_told(swap.function, left), *unseen), "\n".join(lines), root)


def _functions(model: nn.Module, fix: str, example: Example) -> tuple[Counter[str], bool]:
    """Return where the old activation is called as a function and how often, and whether that could be seen."""
    name = SWAPS[fix].function
    if example is not None:
        calls = calls_of(model, fix, example)
        return Counter(call.path for call in calls if call.is_function and call.name == name), True
    try:
        graph = torch.fx.symbolic_trace(copy.deepcopy(model)).graph
    except Exception:  # whatever a model does that tracing does not know
        return Counter(), False
    return Counter(_place(node) for node in graph.nodes if _calls(node, name)), True


def _calls(node: torch.fx.Node, name: str) -> bool:
    if node.op == "call_function":
        return callable(node.target) and ACTIVATIONS.get(node.target) == name
    return node.op == "call_method" and str(node.target).removesuffix("_") == name


def _place(node: torch.fx.Node) -> str:
    within = node.meta.get("nn_module_stack") or {"": ("", None)}
    return str(list(within.values())[-1][0])


def _told(function: str, places: Mapping[str, int]) -> list[str]:
    return [
        f"{function}, called as a function in {path or 'the model'}{f' ({count} times)' if count > 1 else ''}"
        for path, count in places.items()
    ]


def _nothing(fix: str, swap: Swap, left: Mapping[str, int], are_known: bool) -> str:
    kind = f"nn.{swap.old.__name__}"
    if left:
        what = "; ".join(_told(swap.function, left))
        return f"{fix}: expected {kind} modules, got {what}; no surgery reaches it: write {swap.new_function} there"
    hint = "" if are_known else "; functions are seen only with an example input: add example=x"
    return f"{fix}: expected a model with {swap.function}, got one without{hint}"


def drop_output_activation(model: nn.Module, fix: str, example: Example) -> Change:
    """Replace the activation whose outputs are the model's by the identity.

    Raises:
        FixError: there is none, it is a function, or it is called elsewhere, too.
    """
    calls = calls_of(model, fix, example)
    last = next((call for call in reversed(calls) if call.is_output), None)
    if last is None:
        raise FixError(f"{fix}: expected an activation on the model's output, got none")
    if last.is_function:
        where = in_code(last.path)
        raise FixError(f"{fix}: expected a module on the output, got {last.name} as a function in {where}; take it away there")
    if not last.path:
        raise FixError(f"{fix}: expected a model of several modules, got a single {last.name}")
    if count_of(calls, last) > 1 or len(slots_with(model, last.path)) > 1:
        where = in_code(last.path)
        text = f"{where}, which is used in other places, too; give the output an activation of its own"
        raise FixError(f"{fix}: expected a module that is called once, got {text}")
    (slot,) = slots_with(model, last.path)
    slot.put(nn.Identity())
    hint = f"{in_code(last.path)} = nn.Identity()"
    return Change((Replacement(last.path, described(slot.child), "Identity()"),), hint=hint)


def count_of(calls: Sequence[Call], one: Call) -> int:
    """Return how often the module of a call is called."""
    return sum(call.path == one.path and not call.is_function for call in calls)
