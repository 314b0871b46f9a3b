"""What a count of rare events says of their share."""

from __future__ import annotations

import math

CONFIDENCE = 0.95


def largest_share(count: int, of: int) -> float:
    """Return the one-sided upper bound of a share (Clopper and Pearson 1934), by bisection.

    >>> round(largest_share(0, 200), 4)  # 1 - 0.05 ** (1 / 200), or about 3 / 200
    0.0149
    """
    low, high = count / of, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        at_most = sum(math.comb(of, k) * middle**k * (1 - middle) ** (of - k) for k in range(count + 1))
        low, high = (middle, high) if at_most > 1 - CONFIDENCE else (low, middle)
    return high
