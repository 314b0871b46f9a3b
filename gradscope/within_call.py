"""Whether it suffices to look while the network's own call runs: nearly always, and then most of a step goes unwatched.

Found out in steps that are looked at from end to end: where nothing that concerns the recorder happened outside the call,
in each of the last few of them, the next records look within the call only. Every so often one looks everywhere again.
"""

from __future__ import annotations

ALIKE = 2  # records from end to end that have to agree
CHECK_EVERY = 10  # records


class WithinCall:
    """What has shown so far; `only` while no more than the network's call is looked at."""

    def __init__(self) -> None:
        self.only = False
        self._alike = 0
        self._suffices = True  # for the step under way, as far as was seen

    def begin(self, record: int) -> None:
        """Choose how the next record is taken."""
        self.only = self._alike >= ALIKE and record % CHECK_EVERY != 0
        self._suffices = True

    def deny(self) -> None:
        """Tell that something happened outside the call, or something that needs more than the call."""
        self._suffices = False

    def end(self, *, was_called: bool) -> None:
        """Tell whether the network was called as a whole in this step."""
        self._alike = self._alike + 1 if was_called and self._suffices else 0
