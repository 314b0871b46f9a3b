"""What commands that train ask of the machine before torch is loaded."""

from __future__ import annotations

import os


def share_the_machine() -> None:
    """Let torch's threads wait for each other only briefly before they sleep; works only before torch is loaded.

    By default they spin for long, and where another process wants a core as well, each small operation costs a time slice.
    Measured on two cores, ten epochs of the main job: 109 s instead of 8 s with one busy process beside. Alone, 5.7 s instead
    of 3.6 s. Read by GNU OpenMP, which torch's builds for Linux use; a user's own setting stands.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "1000")
