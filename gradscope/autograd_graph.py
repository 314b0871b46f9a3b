"""What autograd's graph of a loss tells: which non-linear operations are in it, and which sites feed the loss directly."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn
from torch.autograd.function import BackwardCFunction

Node = Any  # torch.autograd.graph.Node: its saved values and subclasses have no types

_MOST_NODES = 200_000
# Nodes of torch's own that are Python functions but no custom ones, or stand for other things.
REENTRANT = "CheckpointFunctionBackward"
COMPILED = "CompiledFunctionBackward"
COMPILED_PART = "a compiled part"
_NO_CUSTOM = (
    REENTRANT, "BackwardHookFunctionBackward", "_DDPSinkBackward", "_AllReduceBackward", "BroadcastBackward", "GatherBackward",
    "ScatterBackward", "_UpdatedLinearBackward",
)  # fmt: skip
_VIEWS = (
    "TBackward",
    "Transpose",
    "Permute",
    "View",
    "UnsafeView",
    "Expand",
    "Unsqueeze",
    "Squeeze",
    "ToCopy",
    "Alias",
    "Clone",
)
_FUSED = ("ScaledDotProduct", "FlashAttention", "CudnnRnn", "MkldnnRnn", "MiopenRnn", "ThnnFused", "NativeMultiHead")
_GATES = (
    "Relu", "Sigmoid", "Tanh", "Gelu", "Silu", "Elu", "LeakyRelu", "Prelu", "Hardtanh", "Hardswish", "Hardsigmoid", "Mish",
    "Softplus", "LogSigmoid", "Threshold", "Celu", "PreluKernel", "Softshrink", "Hardshrink", "Rrelu", "RreluWithNoise",
)  # fmt: skip
_GATE_NODES = frozenset(f"{name}Backward{i}" for name in _GATES for i in range(3))


@dataclass
class GraphReading:
    """What was found behind a loss."""

    unseen: list[str] = field(default_factory=list)  # non-linear operations that no site accounts for
    direct: set[str] = field(default_factory=set)  # sites whose output reaches the loss past no parameter


def read_graph(
    losses: Sequence[Tensor],
    parts: Iterable[Tensor],
    sites: dict[Node, str],
    accounted: Collection[Node],
    outputs: Sequence[Tensor] | None = None,
) -> GraphReading:
    """Walk the graph from the losses down.

    Args:
        losses: what backward is called on.
        parts: outputs of parts within the network whose graphs stand apart.
        sites: the node that made each site's output, with the site's key.
        accounted: nodes that belong to calls known to be opaque.
        outputs: of the network, from which on operations that no site accounts for are named; the losses, if None.
    """
    reading = GraphReading()
    custom: dict[str, int] = {}
    roots = [loss.grad_fn for loss in losses if loss.grad_fn is not None]
    ends = losses if outputs is None else outputs
    stack = [tensor.grad_fn for tensor in (*ends, *parts) if tensor.grad_fn is not None]
    seen: set[Node] = set(stack)
    while stack and len(seen) < _MOST_NODES:
        node = stack.pop()
        name = node.name()
        if node not in sites and node not in accounted and (label := _unseen_name(node, name)):
            custom[label] = custom.get(label, 0) + 1
        for child, _ in node.next_functions:
            if child is not None and child not in seen:
                seen.add(child)
                stack.append(child)
    reading.unseen = [label if count == 1 else f"{label} ({count} times)" for label, count in custom.items()]
    reading.direct = _sites_from(roots, sites, past_parameters=False) - _sites_from(_parametrised(seen | set(roots)), sites)
    return reading


def _unseen_name(node: Node, name: str) -> str | None:
    if name.startswith(COMPILED):
        return COMPILED_PART
    if isinstance(node, BackwardCFunction):
        return None if name in _NO_CUSTOM else f"custom autograd function {name.removesuffix('Backward')}"
    if name.startswith("torch::jit"):
        return "a scripted part"
    if name in _GATE_NODES or any(kind in name for kind in _FUSED):
        return name.partition("Backward")[0]
    return None


def _parametrised(nodes: Iterable[Node]) -> list[Node]:
    return [node for node in nodes if any(_is_parameter(child) for child, _ in node.next_functions)]


def _sites_from(roots: Iterable[Node], sites: dict[Node, str], *, past_parameters: bool = True) -> set[str]:
    """Return the sites that are reached from some nodes on the way to the input, the first ones on each way only."""
    found: set[str] = set()
    stack = list(roots)
    seen = set(stack)
    while stack and len(seen) < _MOST_NODES:
        node = stack.pop()
        if node in sites:
            found.add(sites[node])
            continue
        children = [child for child, _ in node.next_functions if child is not None]
        if not past_parameters and any(_is_parameter(child) for child in children):
            continue
        new = [child for child in children if child not in seen]
        seen.update(new)
        stack += new
    return found


def _is_parameter(node: Node) -> bool:
    """Tell whether a node is a parameter, or one that was only viewed or cast on its way (a linear layer's transpose)."""
    for _ in range(4):
        if node is None:
            return False
        name = node.name()
        if name.startswith("torch::autograd::AccumulateGrad"):
            return True
        if not name.startswith(_VIEWS) or len(node.next_functions) != 1:
            return False
        node = node.next_functions[0][0]
    return False


def between(outputs: Iterable[Tensor], inputs: Iterable[Tensor]) -> set[Node]:
    """Return the nodes of the operations that lie between a call's inputs and its outputs."""
    ends = {tensor.grad_fn for tensor in inputs if tensor.grad_fn is not None}
    stack = [tensor.grad_fn for tensor in outputs if tensor.grad_fn is not None and tensor.grad_fn not in ends]
    found = set(stack)
    while stack and len(found) < _MOST_NODES:
        for child, _ in stack.pop().next_functions:
            if child is not None and child not in found and child not in ends:
                found.add(child)
                stack.append(child)
    return found


def _leads_to(node: Node, leaf: Tensor) -> bool:
    """Tell whether a chain of single operations ends at a leaf."""
    for _ in range(4):
        if getattr(node, "variable", None) is leaf:
            return True
        if node is None or len(node.next_functions) != 1:
            return False
        node = node.next_functions[0][0]
    return False


def is_of_parameters(tensor: Tensor) -> bool:
    """Tell whether a tensor is a parameter, or one that was only viewed or cast: nothing of the samples is in it."""
    made = tensor.grad_fn
    return isinstance(tensor, nn.Parameter) if made is None else _is_parameter(made)


def without_inner(tensors: Sequence[Tensor]) -> list[Tensor]:
    """Return the tensors that no other of them is made of."""
    if len(tensors) < 2:
        return list(tensors)
    inner: set[Node] = set()
    for tensor in tensors:
        stack: list[Node] = [tensor.grad_fn]
        seen = set(stack)
        while stack and len(seen) < _MOST_NODES:
            for child, _ in stack.pop().next_functions:
                if child is not None and child not in seen:
                    seen.add(child)
                    stack.append(child)
        inner |= seen - {tensor.grad_fn}
    return [tensor for tensor in tensors if tensor.grad_fn not in inner]


def comes_straight_from(output: Tensor, z: Tensor, made_z: Node | None) -> bool:
    """Tell whether one operation made `output` from z, so that its gradients are those of z and of the output.

    Args:
        output: what the call returned.
        z: what it was given.
        made_z: `z.grad_fn` before the call, which an operation in place replaces.
    """
    if output.grad_fn is None or not output.grad_fn.next_functions:
        return False
    (before, _), *others = output.grad_fn.next_functions
    if any(node is not None and (not _is_parameter(node) or _leads_to(node, z)) for node, _ in others):
        return False  # z may come in by these as well: x * sigmoid(x)
    if before is not None and before.name().startswith("ToCopyBackward"):  # autocast
        before = before.next_functions[0][0]
    if made_z is not None:
        return before is made_z
    return before is not None and getattr(before, "variable", None) is z
