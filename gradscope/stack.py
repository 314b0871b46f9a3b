"""Stacks as populations: many feed-forward networks of equal widths in one module, trained in lock-step.

Every parameter carries a leading member axis. A population of one is an ordinary network; each member's numbers are those of
a plain `torch.nn.Sequential` with the same weights, since no operation mixes members.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from gradscope.activation_gain import matched_gains
from gradscope.activations import ActivationSpec
from gradscope.elementwise import build_activation
from gradscope.errors import DataError
from gradscope.fused_update import LinearUpdate, linear, updated_linear
from gradscope.initial_weights import initial_linear, layer_seed, seeded
from gradscope.recipe import Stack
from gradscope.recipe_stack import MOST_LAYERS
from gradscope.unit_activation import Blocks, UnitActivation

Build = Callable[[ActivationSpec], nn.Module]


@dataclass(frozen=True)
class StackMember:
    """One network of a population: its description and its seed."""

    stack: Stack
    seed: int


class Population(nn.Module):
    """Networks that share the widths of their layers; activations, norms and initial weights may differ."""

    def __init__(
        self, members: Sequence[StackMember], inputs: int, outputs: int, *, allow_code: bool = False, build: Build | None = None
    ) -> None:
        """Build the members with their seeds' weights.

        Args:
            members: at least one; all with the same hidden widths.
            inputs: features of a sample.
            outputs: width of the last layer.
            allow_code: whether activations of the user's own may be loaded.
            build: makes an activation's module; default: from torch.nn and the user's code.

        Raises:
            ValueError: no member, or members of different widths.
        """
        super().__init__()
        hidden = {member.stack.hidden for member in members}
        if len(hidden) != 1:
            raise ValueError(f"expected members with the same hidden widths, got {len(hidden)} kinds")
        self.members, self.size = tuple(members), len(members)
        self.has_user_code = any(
            block.activation.is_reference for member in members for layer in member.stack.layers for block in layer.blocks
        )
        widths = [inputs, *hidden.pop(), outputs]
        make = build or (lambda spec: build_activation(spec, allow_code=allow_code))
        self.layers = nn.ModuleList(StackLayer(members, widths[i], widths[i + 1], i, make) for i in range(len(widths) - 1))

    def forward(
        self, x: Float[Tensor, "*member batch input"], updates: Sequence[LinearUpdate] = ()
    ) -> Float[Tensor, "member batch output"]:
        """Return every member's output.

        Args:
            x: with a member axis, or shared by all members.
            updates: one per layer, to be taken as the gradient passes back; without them it is left in `.grad`.
        """
        if x.dim() == 2:
            x = x.expand(self.size, *x.shape)
        for i, layer in enumerate(self.layers):
            x = layer(x, updates[i]) if updates else layer(x)
        return x

    def linear_parameters(self) -> list[tuple[nn.Parameter, nn.Parameter]]:
        """Return weight [member, output, input] and bias [member, output] of each layer."""
        return [(layer.weight, layer.bias) for layer in self.layers if isinstance(layer, StackLayer)]

    def named_member_parameters(self) -> list[tuple[str, nn.Parameter, tuple[int, ...]]]:
        """Return each parameter with its name by layers from 1 (`3.weight`) and the members on its first axis."""
        everyone = tuple(range(self.size))
        named: list[tuple[str, nn.Parameter, tuple[int, ...]]] = []
        for i, layer in enumerate(self.layers, start=1):
            assert isinstance(layer, StackLayer)
            named += [(f"{i}.weight", layer.weight, everyone), (f"{i}.bias", layer.bias, everyone)]
            for norm in layer.norms:
                assert isinstance(norm, MemberNorm)
                if norm.kind != "none":
                    named += [(f"{i}.norm.weight", norm.weight, norm.rows), (f"{i}.norm.bias", norm.bias, norm.rows)]
            for group, rows in zip(layer.activation.groups, layer.activation.rows, strict=True):
                for name, parameter in group.named_parameters():
                    per_member = parameter if parameter.dim() and parameter.shape[0] == len(rows) else None
                    if per_member is not None:
                        named.append((f"{i}.activation.{name.split('.', 1)[1]}", parameter, rows))
        return named

    def parameters_with_members(self) -> list[tuple[nn.Parameter, tuple[int, ...]]]:
        """Return every parameter with the members on its first axis; one of a single member may be of any shape."""
        everyone = tuple(range(self.size))
        found: list[tuple[nn.Parameter, tuple[int, ...]]] = []
        for layer in self.layers:
            assert isinstance(layer, StackLayer)
            found += [(layer.weight, everyone), (layer.bias, everyone)]
            for norm in layer.norms:
                assert isinstance(norm, MemberNorm)
                found += [(parameter, norm.rows) for parameter in norm.parameters()]
            for group, rows in zip(layer.activation.groups, layer.activation.rows, strict=True):
                found += [(parameter, rows) for parameter in group.parameters()]
        return found


class StackLayer(nn.Module):
    """One layer of every member: linear, norm, activation, and the shortcut around them where a member has one."""

    def __init__(self, members: Sequence[StackMember], inputs: int, outputs: int, index: int, build: Build) -> None:
        super().__init__()
        gains = matched_gains([_matched_to(member.stack, index, inputs) for member in members], build)
        drawn = [
            initial_linear(inputs, outputs, member.stack.init, member.seed, index, gain)
            for member, gain in zip(members, gains, strict=True)
        ]
        self.weight = nn.Parameter(torch.stack([weight for weight, _ in drawn]))
        self.bias = nn.Parameter(torch.stack([bias for _, bias in drawn]))
        kinds = [member.stack.norms[index] for member in members]
        self.norms = nn.ModuleList(
            MemberNorm(kind, tuple(rows), outputs) for kind, rows in groupby(range(len(members)), key=lambda i: kinds[i])
        )
        for norm in self.norms:
            own = {row: (members[i].seed, members[i].stack) for row, i in enumerate(norm.rows)}  # type: ignore[arg-type]
            norm.draw_weights(own, 2 * MOST_LAYERS + index)  # type: ignore[operator]
        blocks: list[Blocks] = [tuple(member.stack.layers[index].resolve(outputs)) for member in members]
        self.activation = UnitActivation(blocks, build, [layer_seed(member.seed, MOST_LAYERS + index) for member in members])

        shortcuts = torch.tensor([member.stack.has_shortcut(index) for member in members])
        self.has_shortcuts = bool(shortcuts.any())
        self.register_buffer("shortcuts", shortcuts.view(-1, 1, 1), persistent=False)
        self.activation.site_labels = tuple(f"{index + 1}.{label}" for label in self.activation.labels)

    @property
    def is_linear_and_activation(self) -> bool:
        """Whether there is nothing else in the layer."""
        return not self.has_shortcuts and all(norm.kind == "none" for norm in self.norms)

    def forward(
        self, x: Float[Tensor, "member batch input"], update: LinearUpdate | None = None
    ) -> Float[Tensor, "member batch output"]:
        """Return the activated outputs."""
        z = updated_linear(x, update) if update else linear(x, self.weight, self.bias)
        if len(self.norms) == 1:
            z = self.norms[0](z)
        else:
            parts = z.split([len(norm.rows) for norm in self.norms])  # type: ignore[arg-type]
            z = torch.cat([norm(part).mT for norm, part in zip(self.norms, parts, strict=True)]).mT
        a: Tensor = self.activation(z)
        return a + x.where(self.shortcuts, 0) if self.has_shortcuts else a  # type: ignore[arg-type]


def _matched_to(stack: Stack, index: int, inputs: int) -> Blocks | None:
    """Return the activations of the layer before, where the weights of layer `index` are matched to them."""
    return tuple(stack.layers[index - 1].resolve(inputs)) if index and stack.init == "matched-normal" else None


class MemberNorm(nn.Module):
    """Batch-norm, layer-norm or nothing for a run of neighbouring members; eps, momentum and start as in torch.nn."""

    EPS, MOMENTUM = 1e-5, 0.1

    def __init__(self, kind: str, rows: tuple[int, ...], units: int) -> None:
        super().__init__()
        self.kind, self.rows = kind, rows
        if kind != "none":
            self.weight = nn.Parameter(torch.ones(len(rows), units))
            self.bias = nn.Parameter(torch.zeros(len(rows), units))
        if kind == "batchnorm":
            self.register_buffer("running_mean", torch.zeros(len(rows), units))
            self.register_buffer("running_var", torch.ones(len(rows), units))

    def draw_weights(self, rows: Mapping[int, tuple[int, Stack]], draw: int) -> None:
        """Draw the weights of rows whose stack says so, each from its own seed and the number of the draw, see `layer_seed`."""
        for row, (seed, stack) in rows.items():
            if self.kind != "none" and stack.norm_weight == "uniform":
                with seeded(layer_seed(seed, draw)), torch.no_grad():
                    self.weight[row].uniform_()

    def forget(self) -> None:
        """Make the running statistics what they are before any training."""
        if self.kind == "batchnorm":
            self.running_mean.zero_()  # type: ignore[operator]
            self.running_var.fill_(1)  # type: ignore[operator]

    def forward(self, z: Float[Tensor, "member batch unit"]) -> Float[Tensor, "member batch unit"]:
        """Return z normalised, scaled and shifted."""
        if self.kind == "none":
            return z
        if self.kind == "layernorm":
            normalised = functional.layer_norm(z, z.shape[-1:], eps=self.EPS)
            return torch.addcmul(self.bias.unsqueeze(1), normalised, self.weight.unsqueeze(1))
        members, batch, units = z.shape
        if self.training and batch < 2:
            raise DataError("batch-norm has no variance in a batch of one sample; expected training.batch_size of at least 2")
        normalised = functional.batch_norm(
            z.mT.reshape(1, members * units, batch),  # every unit of every member is a channel, and the batch its one sample
            self.running_mean.view(-1),  # type: ignore[operator]
            self.running_var.view(-1),  # type: ignore[operator]
            self.weight.view(-1),
            self.bias.view(-1),
            training=self.training,
            momentum=self.MOMENTUM,
            eps=self.EPS,
        )
        return normalised.view(members, units, batch).mT
