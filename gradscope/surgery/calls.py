"""In which order a model calls its linear layers, norms and activations, and which of them are functions.

Registration order is not call order, and a module may be called several times or never: so a copy is called with an example,
and looked at. Nested `nn.Sequential`s tell it by themselves.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from gradscope.activation_functions import ACTIVATIONS, Function, pre_activation
from gradscope.elementwise import CentredSigmoid, module_classes
from gradscope.errors import FixError
from gradscope.function_mode import FunctionMode, Handler
from gradscope.initial_weights import seeded

Example = Tensor | tuple[Any, ...] | Mapping[str, Any] | None
Kind = Literal["linear", "norm", "activation"]

LINEAR: tuple[type[nn.Module], ...] = (nn.Linear, nn.modules.conv._ConvNd)
NORM: tuple[type[nn.Module], ...] = (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)
ACTIVATION: tuple[type[nn.Module], ...] = (*module_classes(), CentredSigmoid)


@dataclass(frozen=True)
class Call:
    """One call, in order. `path` is the module's, or where it is a function that of the module it is called in."""

    kind: Kind
    path: str
    name: str  # the module's class, or the function
    is_function: bool = False
    source: str | None = None  # the linear layer whose outputs are the inputs, as they are
    axes: int = 0  # of the inputs; 0 where nobody saw them
    is_output: bool = False


def kind_of(module: nn.Module) -> Kind | None:
    """Return what a module is, None for everything else."""
    kinds: dict[Kind, tuple[type[nn.Module], ...]] = {"linear": LINEAR, "norm": NORM, "activation": ACTIVATION}
    return next((kind for kind, classes in kinds.items() if isinstance(module, classes)), None)


def calls_of(model: nn.Module, fix: str, example: Example) -> list[Call]:
    """Return the calls of one forward pass.

    Raises:
        FixError: without an example nobody can tell, or the model fails on it.
    """
    if example is not None:
        return _Watch(copy.deepcopy(model).eval()).calls(fix, example)
    chain = list(_chain(model, ""))
    if any(not isinstance(module, nn.Sequential) and kind_of(module) is None and any(module.children()) for _, module in chain):
        raise FixError(f"{fix}: expected an example input, since only a call shows the order of the layers; add example=x")
    return _calls_of_chain(chain)


def _chain(module: nn.Module, path: str) -> Iterator[tuple[str, nn.Module]]:
    """Yield the modules of nested sequences in order; anything else is one of them."""
    if not isinstance(module, nn.Sequential):
        yield path, module
        return
    for name, child in module._modules.items():
        if child is not None:
            yield from _chain(child, f"{path}.{name}".removeprefix("."))


def _calls_of_chain(chain: list[tuple[str, nn.Module]]) -> list[Call]:
    found: list[Call] = []
    source: str | None = None
    axes = 0
    for i, (path, module) in enumerate(chain):
        kind = kind_of(module)
        if kind:
            is_output = i == len(chain) - 1 and kind == "activation"
            found.append(Call(kind, path, type(module).__name__, source=source, axes=axes, is_output=is_output))
        if isinstance(module, nn.Flatten):
            axes = 2 if (module.start_dim, module.end_dim) == (1, -1) else 0
        elif not kind and not isinstance(module, nn.Dropout | nn.Identity):
            axes = 0  # it may reshape
        source = path if kind == "linear" else None
    return found


@dataclass
class _Watch:
    """A forward pass, looked at by hooks and, for functions, by a mode."""

    model: nn.Module
    within: list[str] = field(default_factory=list)  # paths of the modules that are being called
    inside: int = 0  # activations, whose own functions are no further calls
    sources: dict[int, tuple[str, int, Tensor]] = field(default_factory=dict)  # by tensor: layer, version; it is kept alive
    found: list[tuple[Call, Tensor | None]] = field(default_factory=list)
    hooks: list[RemovableHandle] = field(default_factory=list)

    def calls(self, fix: str, example: Example) -> list[Call]:
        """Return the calls."""
        for path, module in self.model.named_modules():
            self._hook(path, module)
        handlers: dict[Function, Handler] = dict.fromkeys(ACTIVATIONS, self._function)
        mode, was_fast = FunctionMode(handlers), torch.backends.mha.get_fastpath_enabled()
        torch.backends.mha.set_fastpath_enabled(False)  # it would call no module
        mode.turn_on()
        try:
            output = run(self.model, fix, example)
        finally:
            mode.turn_off()
            torch.backends.mha.set_fastpath_enabled(was_fast)
            for hook in self.hooks:
                hook.remove()
        return [_placed(call, made, output) for call, made in self.found]

    def _hook(self, path: str, module: nn.Module) -> None:
        kind = kind_of(module)
        sources: list[tuple[str | None, int]] = []

        def before(module: nn.Module, args: tuple[Any, ...]) -> None:
            self.within.append(path)
            self.inside += kind == "activation"
            z = args[0] if args and isinstance(args[0], Tensor) else None
            sources.append((self._source(z), z.dim() if z is not None else 0))

        def after(module: nn.Module, args: object, output: object) -> None:
            self.within.pop()
            self.inside -= kind == "activation"
            source, axes = sources.pop()
            made = output if isinstance(output, Tensor) else None
            if kind and not self.inside:
                self._add(Call(kind, path, type(module).__name__, source=source, axes=axes), made)

        self.hooks += [module.register_forward_pre_hook(before), module.register_forward_hook(after)]

    def _function(self, function: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:  # noqa: ANN401
        z = pre_activation(args, kwargs)
        source = self._source(z)
        output = function(*args, **kwargs)
        if z is not None and not self.inside:
            where = self.within[-1] if self.within else ""
            self._add(Call("activation", where, ACTIVATIONS[function], True, source, z.dim()), output)
        return output

    def _add(self, call: Call, made: Tensor | None) -> None:
        self.found.append((call, made))
        if made is not None and call.kind == "linear":
            self.sources[id(made)] = (call.path, made._version, made)

    def _source(self, z: Tensor | None) -> str | None:
        """Return the linear layer that made a tensor, if nothing was written into it since."""
        path, version, _ = self.sources.get(id(z), (None, 0, None))
        return path if z is not None and z._version == version else None


def _placed(call: Call, made: Tensor | None, output: object) -> Call:
    """Return the call with whether its outputs are the model's, reshaped at most."""
    first = output if isinstance(output, Tensor) else None
    if call.kind != "activation" or made is None or first is None:
        return call
    is_output = made.data_ptr() == first.data_ptr() and made.numel() == first.numel()
    return Call(call.kind, call.path, call.name, call.is_function, call.source, call.axes, is_output)


@torch.no_grad()
def run(model: nn.Module, fix: str, example: Example) -> object:
    """Return what the model gives for an example, with nothing drawn from the global random state.

    Raises:
        FixError: it fails.
    """
    try:
        with seeded(0):
            if isinstance(example, Mapping):
                return model(**example)
            return model(*example) if isinstance(example, tuple) else model(example)
    except Exception as error:
        text = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
        raise FixError(f"{fix}: the model fails on the example: {text}") from error
