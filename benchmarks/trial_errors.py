"""How often a trial of fixes is wrong, by simulation: coverage and width of its intervals, and placebos that are said to work.

Each simulated trial has a control, a reseed arm and some fixes; the first half of the fixes has an effect, the others none.
Two-valued runs collapse (0.1) or learn (0.95); continuous ones are normal or skewed around a level that pairs share. With two
looks, fixes go on by the rule of a trial. In the last worlds one arm seldom fails, or seldom succeeds, which few seeds hardly
ever show: a fix that is a little better in nine runs of ten and fails in the tenth harms on average. Columns:

* all: share of trials in which every interval holds its true effect (at least 0.93 is asked for);
* each: share of intervals that hold it;
* width: mean width of an interval;
* false: share of trials in which any fix is told from zero that has no effect, or the opposite one;
* placebo: share of trials in which the placebo, which stands by itself at 95 %, would be said to work;
* power: share of the fixes with an effect that are told from zero;
* apart: share of these whose runs are found to differ from the control's by more than luck, whatever they do on average,
  which is less to say (`differs` in a report); seeds: mean number of seeds per fix.

    python benchmarks/trial_errors.py --trials 1000
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gradscope.diagnosis import Diagnosis
from gradscope.effects import Arm
from gradscope.family import Family
from gradscope.interval import effect_interval
from gradscope.looks import looks_of
from gradscope.report import Coverage

COLLAPSED, LEARNED = 0.1, 0.95
NOTHING = Diagnosis("healthy", [], [], [], [], Coverage(sites_seen=1), {})
Runs = NDArray[np.float64]


@dataclass(frozen=True)
class World:
    """How runs come about: [arm, seed] with a control, fixes with an effect and fixes without; and the true effect."""

    name: str
    draw: Callable[[np.random.Generator, list[bool], int], Runs]
    effect: float


def collapsing(control: float, cured: float) -> World:
    """Runs collapse with these shares, each by itself."""

    def draw(rng: np.random.Generator, works: list[bool], seeds: int) -> Runs:
        shares = np.array([control, *[cured if one else control for one in works]])
        return np.where(rng.random((len(shares), seeds)) < shares[:, None], COLLAPSED, LEARNED)

    return World(f"two-valued {control:.1f} -> {cured:.1f}", draw, (control - cured) * (LEARNED - COLLAPSED))


@dataclass(frozen=True)
class Kind:
    """Runs of one arm: most of them near `usual`, a share of them near `seldom`."""

    usual: float
    seldom: float
    share: float

    @property
    def mean(self) -> float:
        """Mean over all runs."""
        return (1 - self.share) * self.usual + self.share * self.seldom


def seldom(name: str, control: Kind, fix: Kind, spread: float = 0.01) -> World:
    """One arm seldom does what the few runs of a trial will hardly show."""

    def draw(rng: np.random.Generator, works: list[bool], seeds: int) -> Runs:
        arms = [control, *[fix if one else control for one in works]]
        odd = rng.random((len(arms), seeds)) < np.array([[arm.share] for arm in arms])
        runs = np.where(odd, *(np.array([[getattr(arm, name)] for arm in arms]) for name in ("seldom", "usual")))
        return np.asarray(runs + rng.normal(0, spread, (len(arms), seeds)) * (runs > COLLAPSED))

    return World(name, draw, round(fix.mean - control.mean, 9))


def failing(level: float, better: float, share: float) -> World:
    """A steady control, and a fix that is better where it does not fail."""
    return seldom(f"steady {level}, fails in {share:.2g}", Kind(level, level, 0.0), Kind(better, COLLAPSED, share))


def continuous(name: str, spread: float, effect: float, *, is_skewed: bool = False) -> World:
    """Runs around a level that the arms share for each seed."""

    def draw(rng: np.random.Generator, works: list[bool], seeds: int) -> Runs:
        level = rng.uniform(0.35, 0.55, seeds)
        size = (1 + len(works), seeds)
        noise = rng.exponential(spread, size) - spread if is_skewed else rng.normal(0, spread, size)
        return np.asarray(level + noise + effect * np.array([False, *works])[:, None])

    return World(name, draw, effect)


WORLDS = (
    collapsing(0.1, 0.1),
    collapsing(0.5, 0.5),
    collapsing(0.9, 0.9),
    collapsing(0.3, 0.0),
    collapsing(0.65, 0.35),
    collapsing(0.9, 0.1),
    collapsing(1.0, 0.0),
    continuous("normal 0.02, +0.00", 0.02, 0.0),
    continuous("normal 0.02, +0.02", 0.02, 0.02),
    continuous("normal 0.05, +0.30", 0.05, 0.3),
    continuous("skewed 0.05, +0.10", 0.05, 0.1, is_skewed=True),
    continuous("skewed 0.05, +0.30", 0.05, 0.3, is_skewed=True),
    failing(0.85, 0.91, 0.1),
    failing(0.85, 0.91, 0.2),
    failing(0.5, 0.9, 0.5),  # as good as the control on average: half the range is the most that five seeds can rule out
    failing(0.3, 0.95, 0.2),
    seldom("0.1, learns in 0.2", Kind(COLLAPSED, LEARNED, 0.2), Kind(0.26, 0.26, 0.0)),  # a control better than it looks
    seldom("0.3 -> 0.1, learns in 0.3", Kind(0.3, 0.3, 0.0), Kind(COLLAPSED, 0.95, 0.3)),  # a fix better than it looks
    seldom("all or nothing", Kind(0.55, 0.55, 0.0), Kind(1.0, COLLAPSED, 0.5)),  # a fix that widens the spread alone
)
DESIGNS = ((5, None), (9, None), (5, 9))


@dataclass(frozen=True)
class Row:
    """What came of one world under one design."""

    world: str
    seeds: str
    fixes: int
    all_hold: float
    each_holds: float
    width: float
    false: float
    placebo: float
    power: float
    apart: float
    mean_seeds: float

    def __str__(self) -> str:
        errors = f"{self.all_hold:6.3f} {self.each_holds:6.3f} {self.width:6.2f} {self.false:6.3f} {self.placebo:7.3f}"
        found = f"{self.power:6.2f} {self.apart:6.2f} {self.mean_seeds:5.1f}"
        return f"{self.world:26} {self.seeds:>6} {self.fixes:5} {errors} {found}"


def simulated(world: World, seeds: int, most: int | None, fixes: int, trials: int, seed: int = 0) -> Row:
    """Return the shares over simulated trials."""
    rng = np.random.default_rng(seed)
    works = [i < (fixes + 1) // 2 for i in range(fixes)]  # where the effect is zero, they still change something else
    true = np.where(works, world.effect, 0.0)
    holds, widths, false, placebo, power, apart, used = [], [], 0, 0, [], [], []
    for _ in range(trials):
        runs = world.draw(rng, [*works, False], most or seeds)
        family = family_of(runs[:-1], world.draw(rng, [], seeds)[0], seeds, most)
        outcomes = family.outcomes({}, {})
        ends = np.array([one.interval for one in outcomes])
        differs = np.array([one.differs for one in family.judged()])
        is_wrong = np.sign([one.effect for one in outcomes]) != np.sign(true)
        apart += [bool(one.differs) for one, acts in zip(outcomes, works, strict=True) if acts]
        holds.append((ends[:, 0] <= true + 1e-9) & (true - 1e-9 <= ends[:, 1]))
        widths.append(float(np.mean(ends[:, 1] - ends[:, 0])))
        false += bool((differs & is_wrong).any())
        beside = effect_interval(runs[0, :seeds], runs[-1, :seeds], floor=COLLAPSED)
        placebo += beside is not None and beside[0] > 0
        power += list((differs & ~is_wrong)[true != 0])
        used += [len(fix.values) for fix in family.fixes]
    design = f"{seeds}" if most is None else f"{seeds}-{most}"
    every = np.array(holds)
    return Row(
        world.name, design, fixes, float(every.all(axis=1).mean()), float(every.mean()), float(np.mean(widths)),
        false / trials, placebo / trials, float(np.mean(power)) if power else float("nan"), float(np.mean(apart)),
        float(np.mean(used)),
    )  # fmt: skip


def family_of(runs: Runs, reseed: Runs, seeds: int, most: int | None) -> Family:
    """Return the trial as it is judged at its end: fixes that were worth more seeds have them."""
    looks = looks_of(seeds, most)

    def arms(lengths: dict[str, int]) -> list[Arm]:
        found = {name: runs[1 + i, : lengths.get(name, seeds)] for i, name in enumerate(names)}
        return [Arm(name, tuple(map(float, values)), NOTHING, tuple(range(len(values)))) for name, values in found.items()]

    names = [f"fix {i}" for i in range(len(runs) - 1)]
    others = tuple(map(float, reseed))
    control = Arm("control", tuple(map(float, runs[0, :seeds])), NOTHING, tuple(range(seeds)))
    first = Family(control, arms({}), looks, COLLAPSED, others)
    further = first.worth_more_seeds()
    if not further or most is None:
        return first
    longer = Arm("control", tuple(map(float, runs[0])), NOTHING, tuple(range(most)))
    return Family(longer, arms(dict.fromkeys(further, most)), looks, COLLAPSED, others)


def rows(trials: int, numbers: Sequence[int] = (1, 6), only: str = "") -> Iterator[Row]:
    """Yield the table, for trials with so many fixes, of the worlds whose name contains `only`."""
    for seeds, most in DESIGNS:
        for fixes in numbers:
            for world in WORLDS:
                if only in world.name:
                    yield simulated(world, seeds, most, fixes, trials)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=1000, help="of each row")
    parser.add_argument("--fixes", type=int, nargs="+", default=(1, 6), help="how many are tried in a trial (default: 1 6)")
    parser.add_argument("--only", default="", help="worlds whose name contains this")
    options = parser.parse_args()
    trials = options.trials
    print(f"{trials} trials each; the standard error of a share of 0.95 is {(0.0475 / trials) ** 0.5:.3f}")
    print(f"{'runs':26} {'seeds':>6} fixes    all   each  width  false placebo  power  apart seeds")
    for row in rows(trials, options.fixes, options.only):
        print(row, flush=True)


if __name__ == "__main__":
    main()
