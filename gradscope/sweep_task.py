"""One population trained for an engine, wherever that is: what came of it, mistakes and faults included."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

from gradscope.cell import PopulationTask
from gradscope.data import Data
from gradscope.errors import GradscopeError
from gradscope.sweep_engine import Failed, Finished, Outcome, Settings, Stopped
from gradscope.sweep_training import Interrupted, SweepTraining, train_task
from gradscope.trained_arms import memory_told, user_code_placed

ADVICE = "a smaller batch_size, narrower hidden layers, or fewer --jobs"
"""What helps where the memory does not suffice; fewer seeds do not, a population has as many as fit."""


class Unheard(Exception):
    """Who was told how far a training is has gone: it ends, and nobody is told."""


def training_of(
    settings: Settings,
    advance: Callable[[int], None] = lambda member_steps: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> SweepTraining:
    """Return how an engine's populations are trained in this process."""
    return SweepTraining(
        device=torch.device(settings.device),
        steps=settings.steps,
        precision=settings.precision,
        allow_code=settings.allow_code,
        advance=advance,
        should_stop=should_stop,
    )


def outcome_of(task: PopulationTask, open_samples: Callable[[], Data], how: SweepTraining) -> Outcome:
    """Train a population; return the event that it ends with, as its class and what it says beside the task.

    Args:
        task: the population.
        open_samples: returns its samples, on the device.
        how: see `training_of`.

    Raises:
        Unheard: `how` told somebody who has gone.
    """
    recipe = task.members[0].recipe
    start = time.perf_counter()
    try:
        with memory_told(recipe, ADVICE), user_code_placed(recipe):
            runs = train_task(task, open_samples(), how)
    except Interrupted:
        return (Stopped,)
    except GradscopeError as error:
        return Failed, error
    except Unheard:
        raise
    except OSError as error:  # of this machine: files, memory that cannot be mapped
        return Failed, f"the system refused: {error}; the same command tries again"
    except Exception as error:  # a fault of gradscope's own must not take the other populations down
        text = " ".join(f"{type(error).__name__}: {error}".split())[:400]
        return Failed, f"gradscope failed: {text}; please report it"
    return Finished, runs, time.perf_counter() - start
