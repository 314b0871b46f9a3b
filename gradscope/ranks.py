"""Several processes that train one network together: each hands its records to the first one, which writes.

Through the store that the processes found each other by, not by collective calls: a process that does not watch, or has
died, keeps nobody waiting.
"""

from __future__ import annotations

import contextlib
import itertools
import pickle
import time
from collections.abc import Iterator, Sequence

import torch.distributed as dist
from torch import nn
from torch.distributed.distributed_c10d import PrefixStore, Store, _get_default_store

from gradscope.merged_records import MergedRecords, RecordColumns
from gradscope.records import Records

WAIT_S = 30.0  # for the last records of ranks that have begun to watch
ALONE_NOTE = "statistics are over the samples of rank 0 alone, since the other ranks do not watch; call watch on every rank"
LATE_NOTE = "the last records of some ranks are missing: they ended without closing the watch"
CUT_NOTE = "the last records of the other ranks are missing: the process that held the ranks' store has ended"

_numbers = itertools.count()  # of watches in this process, the same on every rank that watches


class Ranks:
    """This process's place among those that train a network together; alone, where it is not data-parallel."""

    def __init__(self, model: nn.Module) -> None:
        """Look whether the model is data-parallel over processes."""
        self.rank, self.size = 0, 1
        self._store: Store | None = None
        self._sent = 0
        self._received: dict[int, Records] = {}
        self._next: dict[int, int] = {}
        self._watching: list[int] = []
        self._finished: set[int] = set()
        self._is_cut = False  # the store is gone: the training is as good as over, and no error of ours ends it
        if dist.is_available() and dist.is_initialized() and _is_parallel(model):
            self.rank, self.size = dist.get_rank(), dist.get_world_size()
            self._store = PrefixStore(f"gradscope/{next(_numbers)}", _get_default_store())

    @property
    def is_first(self) -> bool:
        """Whether this process is the one that writes."""
        return self.rank == 0

    def start(self) -> None:
        """Tell the others that this process watches."""
        if self._store is not None:
            with self._unless_cut():
                self._store.set(f"watches/{self.rank}", "1")

    def send(self, records: Records, *, is_last: bool) -> None:
        """Hand on what has been flushed since the last call."""
        if self._store is None or self.is_first or self._is_cut:
            return
        part = pickle.dumps((records.since(self._sent), is_last))
        with self._unless_cut():
            self._store.set(f"{self.rank}/{self._next.setdefault(self.rank, 0)}", part)  # type: ignore[arg-type]
        self._next[self.rank] += 1
        self._sent = records.segment_count

    def merged(self, records: Records, *, is_last: bool) -> tuple[RecordColumns, list[str]]:
        """Return the records of all ranks as far as they have come, and what is to be noted about them.

        The last time, those of ranks that watch are waited for.
        """
        store = self._store
        if store is None or not self.is_first:
            return records, []
        end = time.monotonic() + (WAIT_S if is_last else 0)
        if not self._is_cut:
            with self._unless_cut():
                self._watching = [rank for rank in range(1, self.size) if store.check([f"watches/{rank}"])]
                while self._receive(store, records.members, self._watching) and time.monotonic() < end:
                    time.sleep(0.02)
        late = set(self._watching) - self._finished
        return MergedRecords(records, list(self._received.values()), self.size if self._watching else 1), self._notes(
            late, is_last=is_last
        )

    def _notes(self, late: set[int], *, is_last: bool) -> list[str]:
        if not self._watching:
            return [ALONE_NOTE] if self.size > 1 else []
        if not late:
            return []
        return [CUT_NOTE] if self._is_cut else [LATE_NOTE] if is_last else []

    @contextlib.contextmanager
    def _unless_cut(self) -> Iterator[None]:
        try:
            yield
        except RuntimeError:  # what stores raise
            self._is_cut = True

    def _receive(self, store: Store, members: int, watching: Sequence[int]) -> bool:
        """Take what has come; return whether more is to come."""
        for rank in watching:
            key = f"{rank}/{self._next.get(rank, 0)}"
            while rank not in self._finished and store.check([key]):
                segments, is_last = pickle.loads(store.get(key))
                store.delete_key(key)
                self._received.setdefault(rank, Records(members)).extend(segments)
                self._next[rank] = self._next.get(rank, 0) + 1
                key = f"{rank}/{self._next[rank]}"
                if is_last:
                    self._finished.add(rank)
        return bool(set(watching) - self._finished)


def _is_parallel(model: nn.Module) -> bool:
    while not isinstance(model, nn.parallel.DistributedDataParallel):
        inner = getattr(model, "_orig_mod", None)
        if not isinstance(inner, nn.Module):
            return False
        model = inner
    return True
