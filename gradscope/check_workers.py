"""Recipes checked one after another, or side by side in processes of their own.

A process that dies takes one recipe with it, which could not be judged then; another process takes its place. Nothing here
imports torch: the processes do, each with one thread, so that they do not fight over the cores.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path

from gradscope.check_options import CheckOptions
from gradscope.check_result import CheckResult
from gradscope.processes import END_S, how_it_died

Told = Callable[[CheckResult], None]


def check_all(
    paths: Sequence[Path], options: CheckOptions, *, jobs: int, told: Told = lambda result: None
) -> list[CheckResult]:
    """Check recipes; return the results in their order.

    Args:
        paths: the recipes' files.
        options: for all of them.
        jobs: how many at a time; one of them is checked in this process.
        told: is called with each result as it comes.

    Raises:
        KeyboardInterrupt: the user interrupted; `told` knows what was done until then, and no process is left.
    """
    found: dict[Path, CheckResult] = {}
    source = _side_by_side(paths, options, min(jobs, len(paths))) if min(jobs, len(paths)) > 1 else _in_turn(paths, options)
    for path, result in source:
        found[path] = result
        told(result)
    return [found[path] for path in paths]


def _in_turn(paths: Sequence[Path], options: CheckOptions) -> Iterator[tuple[Path, CheckResult]]:
    for path in paths:
        yield path, _checked(path, options)


def _checked(path: Path, options: CheckOptions) -> CheckResult:
    from gradscope.checking import check_recipe

    try:
        return check_recipe(path, options)
    except Exception as error:  # a fault of gradscope's own must not take the other recipes down
        text = " ".join(f"{type(error).__name__}: {error}".split())[:400]
        return _unjudged(path, f"gradscope failed: {text}; please report it")


def _unjudged(path: Path, text: str) -> CheckResult:
    message = f"{path}: could not judge: {text}"
    return CheckResult(recipe=str(path), name=path.stem, outcome="could not judge", message=message)


@dataclass
class _Worker:
    process: SpawnProcess
    pipe: Connection
    path: Path


def _side_by_side(paths: Sequence[Path], options: CheckOptions, jobs: int) -> Iterator[tuple[Path, CheckResult]]:
    left = list(reversed(paths))
    workers = [_started(left.pop(), options) for _ in range(jobs)]
    try:
        while workers:
            ready = wait([worker.pipe for worker in workers])  # the end of a dead process's pipe is ready, too
            for worker in [worker for worker in workers if worker.pipe in ready]:
                try:
                    result = worker.pipe.recv()
                except (EOFError, OSError):
                    worker.process.join(END_S)
                    workers.remove(worker)
                    yield worker.path, _unjudged(worker.path, f"its process died {how_it_died(worker.process.exitcode)}")
                    if left:
                        workers.append(_started(left.pop(), options))
                    continue
                yield worker.path, result
                if left:
                    worker.path = left.pop()
                    with suppress(OSError):  # it died just now: its pipe says so in the next round
                        worker.pipe.send(worker.path)
                else:
                    workers.remove(worker)
                    _end(worker)
    finally:
        for worker in workers:
            worker.process.terminate()
        for worker in workers:
            _end(worker)


def _started(path: Path, options: CheckOptions) -> _Worker:
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_work, args=(theirs, options, list(sys.path)), daemon=True)
    process.start()
    theirs.close()  # so that the pipe ends when the process does
    with suppress(OSError):  # it died at its start, which the pipe's end says
        ours.send(path)
    return _Worker(process, ours, path)


def _end(worker: _Worker) -> None:
    worker.pipe.close()
    worker.process.join(END_S)
    if worker.process.is_alive():
        worker.process.kill()
        worker.process.join()


def _work(pipe: Connection, options: CheckOptions, path: list[str]) -> None:
    """Check what comes through the pipe until it ends; an interrupt is the parent's to handle."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.path[:] = path
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"
    import torch

    torch.set_num_threads(1)
    with suppress(EOFError, OSError):
        while True:
            pipe.send(_checked(pipe.recv(), options))
