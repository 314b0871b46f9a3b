"""The colours of a heat map: readable in grey, to the colour-blind, and on light and dark pages."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

Color = tuple[int, int, int]

VIRIDIS: Sequence[Color] = (
    (68, 1, 84), (71, 44, 122), (59, 81, 139), (44, 113, 142), (33, 144, 141), (39, 173, 129), (92, 200, 99), (170, 220, 50),
    (253, 231, 37),
)  # fmt: skip
"""Nine colours from dark to light, evenly apart to the eye (S. van der Walt and N. Smith, matplotlib, CC0)."""
LEAST_ERROR = 1e-3  # 1 - metric; better is not told apart
NARROWEST = 1.05  # ratio of errors that the whole scale spans at least, so that noise is not painted in all colours

NEAREST = 0.2  # of the legend's width: so far is a tick from the ends, lest their numbers touch


@dataclass(frozen=True)
class Scale:
    """Colours by the logarithm of what is missing to 1: 90 % and 99 % are as far apart as chance and 90 %."""

    low: float
    high: float

    @staticmethod
    def of(values: Iterable[float]) -> Scale:
        """Return the scale that holds all values that are finite."""
        finite = [value for value in values if math.isfinite(value)] or [0.0, 1.0]
        return Scale(min(finite), max(finite))

    def place(self, value: float) -> float:
        """Return where on the scale a value is, from 0 (worst) to 1 (best).

        >>> scale = Scale(0.0, 0.99)
        >>> [round(scale.place(v), 2) for v in (0.0, 0.9, 0.99, 1.5)]
        [0.0, 0.5, 1.0, 1.0]
        """
        worst, best = _error(self.low), _error(self.high)
        if worst < NARROWEST * best:
            middle = math.sqrt(worst * best)
            worst, best = middle * math.sqrt(NARROWEST), middle / math.sqrt(NARROWEST)
        return min(1.0, max(0.0, math.log(worst / _error(value)) / math.log(worst / best)))

    def color(self, value: float) -> Color:
        """Return the colour of a value."""
        position = self.place(value) * (len(VIRIDIS) - 1)
        i = min(int(position), len(VIRIDIS) - 2)
        share = position - i
        red, green, blue = (round(a + share * (b - a)) for a, b in zip(VIRIDIS[i], VIRIDIS[i + 1], strict=True))
        return red, green, blue

    def ticks(self) -> list[float]:
        """Return round values within the scale, for its legend; no two of them so near that their numbers touch."""
        steps = (0.1, 0.2, 0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999)
        inner = [step for step in steps if self.low < step < self.high and NEAREST < self.place(step) < 1 - NEAREST]
        apart: list[float] = []
        for step in inner:
            if not apart or self.place(step) - self.place(apart[-1]) >= NEAREST:
                apart.append(step)
        return [self.low, *apart, self.high] if self.high > self.low else [self.low]


def text_color(behind: Color) -> str:
    """Return white or black, whichever stands out more (luminance as in WCAG 2).

    >>> text_color(VIRIDIS[0]), text_color(VIRIDIS[-1])
    ('#fff', '#000')
    """
    linear = [c / 255 / 12.92 if c <= 10 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in behind]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return "#000" if (luminance + 0.05) / 0.05 > 1.05 / (luminance + 0.05) else "#fff"


def _error(value: float) -> float:
    return max(1 - value, LEAST_ERROR)
