"""Step 0 of a recipe's control, seen without training: one batch forward and backward, and no optimizer at all.

The optimizer is left out since torch's takes longer to import than all the rest to run, and nothing is to be changed.
"""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from collections.abc import Sequence
from contextlib import nullcontext

import numpy as np
import torch
from torch import nn

from gradscope.arms import ArmPlan, Batch, build_network, pack
from gradscope.data import Data
from gradscope.errors import CodeError
from gradscope.member_traces import Progress, build_traces
from gradscope.objective import losses
from gradscope.recipe import Recipe
from gradscope.recorder import Recorder
from gradscope.schedule import every
from gradscope.stack import Population
from gradscope.trace import Trace
from gradscope.trained_arms import user_code_placed
from gradscope.training import BatchOrder, task_of
from gradscope.user_code import running_user_code


class _NeverSteps(torch.optim.Optimizer):
    """Holds the parameters for the recorder; torch's own constructor imports its compiler, which takes two seconds."""

    def __init__(self, network: nn.Module) -> None:
        self.param_groups = [
            {"params": [parameter for parameter in network.parameters() if parameter.requires_grad], "lr": 0.0}
        ]
        self.state = defaultdict(dict)
        self._optimizer_step_pre_hooks = OrderedDict()  # by which the recorder knows an optimizer from its wrappers


def look_once(arms: Sequence[ArmPlan], recipe: Recipe, data: Data, device: torch.device, *, allow_code: bool) -> list[Trace]:
    """Return a trace with step 0 alone for each network, the same that training would record there.

    Args:
        arms: whose networks.
        recipe: the control's.
        data: on the device; flattened for a stack.
        device: where to compute.
        allow_code: whether code of the user's own may be run.

    Raises:
        CodeError: code of the user's own failed.
    """
    traces: list[Trace] = []
    for batch in pack(arms):
        with user_code_placed(recipe):
            traces += _look(batch, data, device, allow_code=allow_code)
    return traces


def _look(batch: Batch, data: Data, device: torch.device, *, allow_code: bool) -> list[Trace]:
    training = batch.recipe.training
    network = build_network(batch, data, device, allow_code=allow_code).train()
    order = BatchOrder([member.seed for member in batch.members], len(data.x_train), training.batch_size, device)
    indices = next(order.epoch())
    cuda = [data.x_train.get_device()] if data.x_train.is_cuda else []
    has_user_code = network.has_user_code if isinstance(network, Population) else True
    guarded = running_user_code("the first step failed") if has_user_code else nullcontext()
    with Recorder(network, _NeverSteps(network), every(1)) as recorder, torch.random.fork_rng(cuda), guarded:
        torch.manual_seed(batch.members[0].seed)
        recorder.begin(0)
        if isinstance(network, Population):
            output = network(data.x_train[indices])
        else:
            output = network(data.x_train[indices[0]])
            wanted = [len(indices[0]), data.outputs]
            if not isinstance(output, torch.Tensor) or list(output.shape) != wanted:
                got = list(output.shape) if isinstance(output, torch.Tensor) else type(output).__name__
                raise CodeError(f"model: expected an output of shape {wanted} (batch, outputs of {data.name}), got {got}")
            output = output.unsqueeze(0)
        loss = losses(training.loss, output, data.y_train[indices])
        loss.sum().backward()
        recorder.gradients_ready()
        recorder.step_taken()
        progress = Progress(loss=np.asarray(loss.detach().float().cpu().numpy()[None], np.float32))
        return build_traces(recorder, batch.members, progress, task_of(data, training), "step 0")
