"""Lines to write for fixes that change no module."""

from __future__ import annotations

from collections.abc import Mapping

from gradscope.fixes.adam import LR
from gradscope.fixes.clip_gradient import LARGEST
from gradscope.fixes.lr_warmup import WARMUP

HINTS: Mapping[str, str] = {
    "lower-lr": "for group in optimizer.param_groups:\n    group['lr'] /= 10",
    "lr-warmup": (
        f"steps = max(2, int({WARMUP} * all_steps))\n"
        "warmup = torch.optim.lr_scheduler.LinearLR(optimizer, start_factor=1 / steps, total_iters=steps - 1)\n"
        "warmup.step()  # behind each optimizer.step()"
    ),
    "clip-gradient": (
        f"torch.nn.utils.clip_grad_norm_(model.parameters(), {LARGEST})  # between loss.backward() and optimizer.step()"
    ),
    "adam": f"optimizer = torch.optim.Adam(model.parameters(), lr={LR})",
    "scale-input": (
        "mean, std = x_train.mean(dim=0), x_train.std(dim=0, correction=0)\n"
        "std[std == 0] = 1\n"
        "x = (x - mean) / std  # before the model, in training and after it"
    ),
    "residual": "x = x + block(x)  # in forward, where x and block(x) are of one shape",
}
