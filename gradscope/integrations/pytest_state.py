"""Around a check: what it draws and switches is nobody else's. The global random states are afterwards as they were."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


@contextmanager
def apart(data: object = None) -> Iterator[None]:
    """Put back Python's, numpy's and torch's random states and a loader's own after the block, which has gradients on.

    Of torch's threads a worker of pytest-xdist has its share: where all workers take all cores, threads wait for each other.
    """
    python, legacy = random.getstate(), np.random.get_state()
    own = [(generator, generator.get_state()) for generator in _generators(data)]
    threads, workers = torch.get_num_threads(), os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")
    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()
    try:
        torch.set_num_threads(max(1, threads // int(workers)))
        with torch.random.fork_rng(devices), torch.inference_mode(False), torch.enable_grad():
            yield
    finally:
        torch.set_num_threads(threads)
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
