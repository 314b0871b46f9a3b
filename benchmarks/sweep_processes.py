"""The processes that the contenders of the sweep benchmark live in, and how they are told to take a block of steps.

All stay from the beginning of a measurement to its end, and wait without computing while it is another's turn. Nothing here
imports torch before the threads are settled.
"""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple, Self

from gradscope.processes import deaf_to_interrupts

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


class Block(NamedTuple):
    """Steps of single networks, and what they took: seconds on the wall, and of all threads' processor time."""

    member_steps: int
    wall_s: float
    processor_s: float


class Crew:
    """Processes of one kind: with one thread each, or with torch's own number of threads."""

    def __init__(self, count: int, data_dir: Path, device: str, *, one_thread: bool) -> None:
        self._pipes: list[Connection] = []
        context = get_context("spawn")
        for _ in range(count):
            ours, theirs = context.Pipe()
            arguments = (theirs, data_dir, device, one_thread, list(sys.path))
            with deaf_to_interrupts():
                context.Process(target=_work, args=arguments, daemon=True).start()
            theirs.close()  # so that the pipe ends when the process does
            self._pipes.append(ours)

    def __len__(self) -> int:
        return len(self._pipes)

    def call(self, method: str, arguments: Sequence[tuple[Any, ...]]) -> list[Any]:
        """Call a method of `Bench` in the first processes at once, each with arguments of its own; return its answers.

        Raises:
            RuntimeError: it failed in one of them, or one died.
        """
        used = list(zip(self._pipes, arguments, strict=False))
        for pipe, own in used:
            pipe.send((method, own))
        answers = [_answer(pipe) for pipe, _ in used]
        for answer in answers:
            if isinstance(answer, _Failed):
                raise RuntimeError(f"in a process of the benchmark: {answer.text}")
        return answers

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for pipe in self._pipes:
            pipe.close()


class _Failed(NamedTuple):
    text: str


def _answer(pipe: Connection) -> Any:  # noqa: ANN401 - whatever the method returns
    try:
        return pipe.recv()
    except (EOFError, OSError):
        return _Failed("it died")


def _work(pipe: Connection, data_dir: Path, device: str, one_thread: bool, path: list[str]) -> None:
    """Do what comes through the pipe until it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.path[:] = path
    for name in THREADS:
        os.environ.pop(name, None)  # so that the number of threads is torch's own, as it is for most users
        if one_thread:
            os.environ[name] = "1"
    from benchmarks.sweep_bench import Bench

    bench = Bench(data_dir, device)
    with suppress(EOFError, OSError):
        while True:
            method, arguments = pipe.recv()
            try:
                answer = getattr(bench, method)(*arguments)
            except Exception:
                answer = _Failed(traceback.format_exc())
            pipe.send(answer)
