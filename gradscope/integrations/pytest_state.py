"""Around a check: what it draws and switches is nobody else's. The global random states are afterwards as they were."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


@contextmanager
def apart(data: object = None) -> Iterator[None]:
    """Put back Python's, numpy's and torch's random states and a loader's own after the block, which has gradients on."""
    python, legacy = random.getstate(), np.random.get_state()
    own = [(generator, generator.get_state()) for generator in _generators(data)]
    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()
    try:
        with torch.random.fork_rng(devices), torch.inference_mode(False), torch.enable_grad():
            yield
    finally:
        random.setstate(python)
        np.random.set_state(legacy)
        for generator, state in own:
            generator.set_state(state)


def seed_all(seed: int, data: object = None) -> None:
    """Seed what a model's weights, dropout, loaders and the user's own data may draw from."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    for generator in _generators(data):
        generator.manual_seed(seed)


def _generators(data: object) -> list[torch.Generator]:
    """Return the generators of a loader and its samplers, each once."""
    batches = getattr(data, "batch_sampler", None)
    holders = [data, getattr(data, "sampler", None), batches, getattr(batches, "sampler", None)]
    found = [getattr(holder, "generator", None) for holder in holders]
    return list({id(generator): generator for generator in found if isinstance(generator, torch.Generator)}.values())
