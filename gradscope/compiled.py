"""Parts of a network that `torch.compile` has compiled: their functions cannot be seen while they run.

In a step that is looked at, a compiled part runs as always, and beside it once more without the compiler: on parameters that
share the values but not the gradients, on copies of the buffers and on random numbers of its own. This shadow pass is what
is recorded; the training's bits are those of the compiled part. Its backward pass starts from the gradients that reach the
compiled part's output. What is compiled some other way (a function that calls the network) runs without the compiler in such
a step, which rounds differently; a note says so.
"""

from __future__ import annotations

import contextlib
import gc
import sys
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.modules.module import register_module_module_registration_hook
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.hooks import RemovableHandle

from gradscope.function_mode import FunctionMode
from gradscope.stand_ins import Call, StandIns, is_compiled_in_place

SHADOW_NOTE = (
    "compiled parts were looked at in a pass beside the training without the compiler: it rounds differently, and dropout "
    "draws other masks"
)
EAGER_NOTE = (
    "functions compiled by torch.compile ran without the compiler in the steps looked at, which rounds differently; "
    "compile the model itself to keep the training's bits"
)
_INNER = "_orig_mod"


class Calls(NamedTuple):
    """What the recorder is told while it looks."""

    before: Callable[[tuple[Any, ...], dict[str, Any]], None]  # the network, compiled as a whole, is called with these inputs
    after: Callable[[object], None]  # and has returned this
    made: Callable[[nn.Module], None]  # this part has just been compiled


@dataclass
class Shadow:
    """A pass beside the training: its outputs, and the gradients that the compiled part's outputs get."""

    is_network: bool
    outputs: list[Tensor]
    leaves: list[Tensor]
    gradients: dict[int, Tensor] = field(default_factory=dict)


class CompiledParts:
    """Finds the compiled parts of one network, and puts the shadow pass beside them in the steps looked at."""

    def __init__(self, network: nn.Module, mode: FunctionMode) -> None:
        self.network, self._mode = network, mode
        self.shadows: list[Shadow] = []
        self.in_shadow = False
        self._wrappers: weakref.WeakSet[nn.Module] = weakref.WeakSet()
        self._stand_ins = StandIns()
        self._let_go: weakref.finalize[..., CompiledParts] | None = None
        self._has_own = False  # parts whose `compile()` was called
        self._parts = weakref.WeakSet(network.modules())
        self._registration: RemovableHandle | None = None
        self._calls: Calls | None = None  # while it stands beside the parts

    def open(self) -> None:
        """Find the parts that are compiled already, and notice those that will be."""
        if self._registration is not None:
            return
        self._registration = register_module_module_registration_hook(self._registered)
        for candidate in _all_wrappers():
            if getattr(candidate, _INNER, None) in self._parts:
                self._wrappers.add(candidate)

    def _registered(self, module: nn.Module, name: str, submodule: nn.Module | None) -> None:
        """Notice `torch.compile(network)`: it makes a module around the network."""
        if name == _INNER and submodule is not None and submodule in self._parts:
            self._wrappers.add(module)
            if self._calls is not None:
                self._calls.made(submodule)
                self._stand_beside(module, submodule)
                self.set_compiler_aside()

    @property
    def _is_eager(self) -> bool:
        """Whether the compiler is set aside for this network."""
        return self._let_go is not None

    @property
    def is_compiled(self) -> bool:
        """Whether the network itself is compiled, as a whole."""
        wrapped = any(getattr(wrapper, _INNER) is self.network for wrapper in self._wrappers)
        return wrapped or is_compiled_in_place(self.network)

    @property
    def has_parts(self) -> bool:
        """Whether anything of the network was compiled, as far as was seen when it was last attached to."""
        return bool(self._wrappers) or self._has_own

    def attach(self, calls: Calls) -> None:
        """Stand beside the compiled parts for one step."""
        self.shadows = []
        self._calls = calls
        frames = sys.modules.get("torch._dynamo.eval_frame")
        if frames is None:  # nothing can have been compiled in this process
            return
        by_themselves = [module for module in self.network.modules() if is_compiled_in_place(module)]  # module.compile()
        self._has_own = bool(by_themselves)
        for wrapper in list(self._wrappers):
            self._stand_beside(wrapper, getattr(wrapper, _INNER))
        for module in by_themselves:
            self._stand_beside(module, module)
        self.set_compiler_aside()

    def wait(self, calls: Calls) -> None:
        """Stand beside parts that will be compiled from now on."""
        self._calls = calls
        self.set_compiler_aside()

    def detach(self) -> None:
        """Leave everything as it was."""
        self._stand_ins.clear()
        self.let_compiler_work()
        self._calls = None
        self.shadows = []

    def close(self) -> None:
        """Notice no more."""
        self.detach()
        if self._registration is not None:
            self._registration.remove()
            self._registration = None

    def backward(self) -> None:
        """Run the shadow passes back from the gradients that reached the compiled parts; the recorder's hooks see them."""
        for shadow in self.shadows:
            reached = [(shadow.outputs[i], gradient) for i, gradient in shadow.gradients.items()]
            if reached and shadow.leaves:
                outputs, gradients = zip(*reached, strict=True)
                torch.autograd.grad(outputs, shadow.leaves, gradients, allow_unused=True)
        self.shadows = []

    def _stand_beside(self, holder: nn.Module, module: nn.Module) -> None:
        """Put the shadow pass beside what compiling has made of `module`; `holder` is what the user calls."""
        assert self._calls is not None
        calls, is_network = self._calls, module is self.network

        def beside(compiled: Call) -> Call:
            def both(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
                if self.in_shadow:
                    return module._call_impl(*args, **kwargs)
                looks = torch.is_grad_enabled() and self._mode.is_on
                buffers = {name: buffer.clone() for name, buffer in module.named_buffers()} if looks else {}
                with self._mode.off(), self._compiling():
                    output = compiled(*args, **kwargs)
                if looks:
                    if is_network:
                        calls.before(args, kwargs)
                        calls.after(output)
                    self._run_shadow(module, is_network, buffers, (args, kwargs), output)
                return output

            return both

        self._stand_ins.put(holder, beside)

    def _run_shadow(
        self, module: nn.Module, is_network: bool, buffers: dict[str, Tensor], inputs: tuple[Any, Any], output: object
    ) -> None:
        state: dict[str, Tensor] = {name: _apart(parameter) for name, parameter in module.named_parameters()}
        args, kwargs = tree_map(lambda value: _apart(value) if isinstance(value, Tensor) else value, inputs)
        devices = sorted({value.get_device() for value in state.values() if value.is_cuda})
        self.in_shadow = True
        try:
            with torch.random.fork_rng(devices):
                seen = functional_call(module, state | buffers, args, kwargs)
        finally:
            self.in_shadow = False
        given = [value for value in tree_leaves((args, kwargs)) if isinstance(value, Tensor)]
        leaves = [value for value in (*state.values(), *given) if value.requires_grad]
        shadow = Shadow(is_network, [t for t in tree_leaves(seen) if _has_gradient(t)], leaves)
        real = [t for t in tree_leaves(output) if _has_gradient(t)]
        if len(real) != len(shadow.outputs):
            return
        for i, tensor in enumerate(real):
            tensor.register_hook(lambda gradient, i=i: shadow.gradients.__setitem__(i, gradient))
        self.shadows.append(shadow)

    @contextlib.contextmanager
    def _compiling(self) -> Iterator[None]:
        """Let the compiler work as the user has set it."""
        with _eager.paused() if self._is_eager else contextlib.nullcontext():
            yield

    def set_compiler_aside(self) -> None:
        """Have everything run without the compiler, if it has been loaded at all."""
        if not self._is_eager and "torch._dynamo.eval_frame" in sys.modules:
            _eager.hold()
            self._let_go = weakref.finalize(self, _eager.let_go)  # whoever watches may be dropped without an end
            self._let_go.atexit = False

    def let_compiler_work(self) -> None:
        """Leave it as it was."""
        if self._let_go is not None:
            self._let_go()
            self._let_go = None


class _Eager:
    """torch's compiler set aside, for as long as anybody needs it: watches may begin and end in any order."""

    def __init__(self) -> None:
        self._holders = 0
        self._stance: Any = None

    def hold(self) -> None:
        """Set it aside."""
        if not self._holders:
            self._stance = torch.compiler.set_stance("force_eager")
        self._holders += 1

    def let_go(self) -> None:
        """Leave it as the user has set it, once nobody needs it aside."""
        self._holders -= 1
        if not self._holders:
            self._stance.__exit__(None, None, None)

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Let it work for a while."""
        self._stance.__exit__(None, None, None)
        try:
            yield
        finally:
            self._stance = torch.compiler.set_stance("force_eager")


_eager = _Eager()


def _apart(tensor: Tensor) -> Tensor:
    """Return the same values as a leaf of its own graph."""
    return tensor.detach().requires_grad_(tensor.requires_grad)


def _has_gradient(value: object) -> bool:
    return isinstance(value, Tensor) and value.requires_grad


def _all_wrappers() -> list[nn.Module]:
    """Return every module that `torch.compile` has made so far."""
    frames = sys.modules.get("torch._dynamo.eval_frame")
    if frames is None:
        return []
    return [found for found in gc.get_objects() if type(found) is frames.OptimizedModule]


def runs_compiled_function() -> bool:
    """Tell whether the caller runs below something that `torch.compile` made, with the compiler set aside."""
    frames = sys.modules.get("torch._dynamo.eval_frame")
    frame = sys._getframe(1)
    while frames is not None and frame is not None:
        if frame.f_code.co_filename == frames.__file__:
            return True
        frame = frame.f_back  # type: ignore[assignment]
    return False
