"""gradscope's own error rates: precision, recall, origin and cause, over networks that learn and networks with a planted cause.

python -m benchmarks.error_rates                    # all; see benchmarks/README.md for how long
python -m benchmarks.error_rates --only saturation --half both
python -m benchmarks.error_rates --quick            # a handful of cases: only whether it runs

Only the half of the cases that is held back from any choice of a threshold is run and reported, unless --half asks for more.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import multiprocessing
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.environment import calm_threads, describe, load_average

if TYPE_CHECKING:
    from benchmarks.corpus_case import Case

ROOT = Path(__file__).parents[1]
JOURNAL = ROOT / "runs" / "error-rates.jsonl"
QUICK = ("healthy: mlp of relu", "healthy: wide relus, biases -1.0", "healthy recipe: two layers of tanh")
QUICK_PLANTS = ("dead layer by bias", "relu on the logits", "not finite by a log", "all weights zero")  # one network of each
QUICK_STACKS = 10
Work = tuple[str, Callable[..., dict[str, Any]], tuple[Any, ...]]  # its name, what to call, with what


def main() -> None:
    """Run what is not kept yet, print the tables, keep the result."""
    options = _options()
    calm_threads()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    from benchmarks.corpus import cases
    from benchmarks.error_rates_judge import judge
    from benchmarks.error_rates_table import summarise, table

    chosen = quick_cases() if options.quick else {n: c for n, c in cases().items() if _is_wanted(c, options)}
    version = code_version()
    kept = Journal(options.journal, version)
    load = load_average()
    unusable = _run(chosen, kept, options)
    judged = [judge(case, kept.done[name]) for name, case in chosen.items() if name in kept.done]
    rates = summarise(judged)
    found = {"half": options.half, "code": version, "rates": rates}
    print(table(rates))
    found["published"] = _published(kept, unusable)
    found["environment"] = describe() | {"load_average": load, "load_average_at_end": load_average()}
    found["cases"] = {name: _brief(kept.done[name], case) for name, case in chosen.items() if name in kept.done}
    out = options.out or ROOT / "benchmarks" / "results" / f"error-rates-{datetime.now(UTC):%Y-%m-%d}.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(f"kept in {out}", file=sys.stderr)


def _options() -> argparse.Namespace:
    parser = case_options(__doc__, JOURNAL, only="cases whose name contains this, or healthy, sick, watch, recipe, published")
    parser.add_argument("--quick", action="store_true", help="a handful of cases, short")
    return parsed(parser)


def case_options(told: str | None, journal: Path, *, only: str) -> argparse.ArgumentParser:
    """Return a parser with the options of every benchmark that runs cases of the corpora."""
    parser = argparse.ArgumentParser(description=told, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--half", choices=("held back", "choosing", "both"), default="held back", help="of the cases")
    parser.add_argument("--only", default="", help=only)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes of one thread (default: the cores)")
    parser.add_argument("--journal", type=Path, default=journal, help=f"what is done already (default: runs/{journal.name})")
    parser.add_argument("--out", type=Path, help=f"the result's file (default: benchmarks/results/{journal.stem}-DATE.json)")
    return parser


def parsed(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """Return the options that were given."""
    options = parser.parse_args()
    if options.workers < 1:
        parser.error("expected at least one worker")
    return options


def _is_wanted(case: Case, options: argparse.Namespace) -> bool:
    is_named = options.only in case.name or options.only in (case.kind, case.way)
    return is_named and options.half in (case.half, "both")


def quick_cases() -> dict[str, Case]:
    """Return the handful of cases of `--quick`, none of the half that is held back."""
    from benchmarks.corpus import cases

    every = {name: case for name, case in cases().items() if case.half == "choosing"}
    first = {case.plant.name: name for name, case in reversed(every.items()) if case.plant and case.way == "watch"}
    return {name: every[name] for name in (*QUICK, *(first[plant] for plant in QUICK_PLANTS))}


def code_version(*own: str) -> str:
    """Return a digest of all that a result depends on: gradscope's code, the corpora's, and what runs a case."""
    files = [*sorted((ROOT / "gradscope").rglob("*.py")), *sorted((ROOT / "benchmarks").glob("corpus*.py"))]
    files += [ROOT / "benchmarks" / name for name in own or ("error_rates_run.py", "error_rates_published.py")]
    digest = hashlib.sha256()
    for file in files:
        digest.update(f"{file.relative_to(ROOT)} {hashlib.sha256(file.read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()[:12]


class Journal:
    """What is done, one JSON line a piece, by name and code version: an interrupted run goes on where it stopped."""

    def __init__(self, path: Path, version: str) -> None:
        self.path, self.version = path, version
        self.done: dict[str, dict[str, Any]] = {}
        if path.exists():
            for line in path.read_text(encoding="utf-8").splitlines():
                self._take(line)

    def _take(self, line: str) -> None:
        try:
            one = json.loads(line)
        except ValueError:  # cut off by a kill
            return
        if one.get("version") == self.version and "failed" not in one:
            self.done[one["name"]] = one

    def put(self, one: Mapping[str, Any]) -> None:
        """Keep one piece of work."""
        self.done[one["name"]] = dict(one)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"version": self.version, **one}) + "\n")


def _run(chosen: Mapping[str, Case], kept: Journal, options: argparse.Namespace) -> str:
    """Run the cases and the published stacks; return why the latter cannot be run."""
    from benchmarks.error_rates_published import absent, blocks

    unusable = absent() if not options.only or options.only == "published" else "left out by --only"
    todo: list[Work] = [(name, _one, (name,)) for name in chosen]
    if not unusable:
        todo += [(block_name(*block), _block, block) for block in blocks(QUICK_STACKS if options.quick else None)]
    todo = [item for item in todo if item[0] not in kept.done]
    for i, one in enumerate(_finished(todo, options.workers), start=1):
        kept.put(one)
        print(f"{i}/{len(todo)} {one['name']}: {one.get('failed') or one.get('score', 'done')}", file=sys.stderr, flush=True)
    return unusable


def _finished(todo: Iterable[Work], workers: int) -> Iterator[dict[str, Any]]:
    from benchmarks.error_rates_run import ready

    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=ready) as pool:
        futures: dict[Future[dict[str, Any]], str] = {pool.submit(call, *given): name for name, call, given in todo}
        for future in as_completed(futures):
            yield future.result()


def _one(name: str) -> dict[str, Any]:
    from benchmarks.error_rates_run import run_named

    return run_named(name)


def _block(key: str, begin: int) -> dict[str, Any]:
    from benchmarks.error_rates_published import run_block

    return {"name": block_name(key, begin)} | run_block(key, begin)


def block_name(key: str, begin: int) -> str:
    """Return the name under which ten published stacks are kept."""
    return f"published {key} from {begin}"


def _published(kept: Journal, unusable: str) -> dict[str, Any]:
    from benchmarks.error_rates_published import TABLES, published_table, summarise_published

    if unusable:
        print(f"\npublished tables: skipped: {unusable}")
        return {"skipped": unusable}
    found: dict[str, dict[str, Any]] = {key: {} for key in TABLES}
    for name, piece in kept.done.items():
        if "stacks" in piece:
            found[name.split()[1]] |= piece["stacks"]
    rates = summarise_published(found)
    print(published_table(rates))
    return rates


def _brief(result: Mapping[str, Any], case: Case) -> dict[str, Any]:
    """Return what is kept of a case beside the rates: whoever doubts a rate can count again."""
    told = ("error", "warning") if case.plant and case.plant.may_learn else ("error",)
    found = (one for one in result.get("findings", ()) if one["severity"] in told)
    errors = [f"{one['rule']} {one['role']} {one['site']} {one['first_step']}" for one in found]
    return {key: result[key] for key in ("failed", "score", "steps", "seconds") if key in result} | {
        "goal": case.goal, "half": case.half, "findings": errors,
    }  # fmt: skip


if __name__ == "__main__":
    main()
