"""What a sweep says about its factors, as data: parts of results.json. Nothing here needs torch or numpy."""

from __future__ import annotations

from typing import Literal

from gradscope.report import Number
from gradscope.saved_data import SavedPart

MixingVerdict = Literal["helps", "harms", "no effect", "cannot tell"]


class Level(SavedPart):
    """One value of a factor and the mean metric of its runs."""

    value: str
    mean: Number
    runs: int


class FactorEffect(SavedPart):
    """How much of the metric's variance one factor explains.

    `derived` factors follow from the activations (all layers alike or not; one family or several): what they explain, the
    activations explain as well.
    """

    name: str
    derived: bool
    levels: list[Level]
    """Best mean first."""
    eta_squared: Number
    """Sum of squares of the factor, given all others, over the total one."""
    omega_squared: Number
    """The same without what luck alone explains; null where no run repeats a cell."""
    rank_eta_squared: Number
    """eta_squared of the metric's ranks; of a single factor it is Kruskal and Wallis' epsilon squared."""
    p_value: float | None
    """By permutation; null where no two cells differ in this factor only, or a derived one has too few stacks to permute."""
    p_holm: float | None
    """p_value corrected for the number of factors (Holm)."""


class Factors(SavedPart):
    """The analysis of variance of a sweep, with its assumptions."""

    cells: int
    runs: int
    effects: list[FactorEffect]
    """Factors of the grid first, the largest eta_squared first; then the derived ones."""
    interactions: Number = float("nan")
    """Share of the variance that all interactions of factors explain together."""
    pairs: Number
    """That of interactions of two factors; null where the cells are too few to tell them from those of more than two."""
    higher: Number
    """That of interactions of more than two; null likewise."""
    seeds: Number
    """What is left: the seeds of one cell differ by so much; null where no run repeats a cell."""
    balanced: bool
    permutations: int
    assumptions: list[str]
    """In plain words, what the shares rest on and whether it holds here."""


class MixingEffect(SavedPart):
    """Mixed minus pure stacks, each with the learning rate that suits it; metrics are shares.

    `typical` compares the means of both sides. `best` compares the best pure stack with the best of as many mixed ones, drawn
    at random: whoever may choose among more finds a better one by luck alone.
    """

    where: str
    """What is compared, such as `all`, `within relu-like`; of a single setting its factors."""
    pure: int
    mixed: int
    """Stacks on each side."""
    pure_mean: Number
    mixed_mean: Number
    typical: Number
    typical_interval: tuple[Number, Number] | None
    pure_best: Number
    mixed_best: Number
    best: Number
    best_interval: tuple[Number, Number] | None
    verdict: MixingVerdict
    """Of `typical`."""
    best_verdict: MixingVerdict


class Mixing(SavedPart):
    """Does mixing activations in one network help? Pure against mixed stacks, over shapes and optimizers."""

    answer: str
    overall: list[MixingEffect]
    """Over all settings: all stacks, those within each family, those across families."""
    settings: list[MixingEffect]
    """All stacks in each setting (shape, optimizer, ...) by itself."""
    seeds: int
    rates: int
    """Learning rates that each stack could choose from."""
    method: str
