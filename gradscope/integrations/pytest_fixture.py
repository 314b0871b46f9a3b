"""The fixture `gradscope_check`: a short, watched training in a test, and a failure that says what is wrong with the model."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from gradscope.check_result import CheckResult
from gradscope.errors import GradscopeError
from gradscope.integrations.pytest_options import NAMES, options_of
from gradscope.integrations.pytest_place import TestPlace, explained


def checker(request: pytest.FixtureRequest) -> Callable[..., CheckResult]:
    """Return the function that a test gets by the name `gradscope_check`."""
    counts: Counter[str | None] = Counter()  # of this test's checks, by their names

    def gradscope_check(
        model_or_recipe: Any,  # noqa: ANN401
        data: Any = None,  # noqa: ANN401
        *,
        loss: Callable[[Any, Any], Any] | None = None,
        optimizer: Callable[[Any], Any] | None = None,
        steps: int | None = None,
        seeds: int | Sequence[int] | None = None,
        expect: str | Sequence[str] | None = None,
        name: str | None = None,
        sites: str | Sequence[str] | None = None,
        rules: Sequence[Any] | None = None,
        batch_size: int | None = None,
        allow_code: bool | None = None,
    ) -> CheckResult:
        """Train a model for some steps under `gradscope.watch` and fail unless it is as expected.

        The model is trained as a copy: it, the random states and a loader's generator are afterwards as they were. Arguments
        that are not given are the marker's (`@pytest.mark.gradscope(...)`), else the defaults below.

        Args:
            model_or_recipe: a module, which keeps its weights; a function (or class) that returns a new one, which draws them
                from each seed; or the path of a recipe, which is checked as `gradscope check` does.
            data: (x, y) as tensors or arrays, a data set, a DataLoader, any iterable of batches (x, y), or a function that
                returns one of these; read again as often as needed. x may be a tuple or a mapping of several inputs.
            loss: a function (output, y) -> one number; default: cross-entropy for targets of an integer type, else squared
                error.
            optimizer: a function of the parameters; default: SGD, learning rate 0.01, momentum 0.9. What is healthy may depend
                on it, so give your own where it is another.
            steps: default 100, or as many as 300 samples take. A unit counts as dead when it was shut for each of the last 300
                samples, and collapses come in the first dozens of steps. With fewer samples the check cannot judge, and fails.
            seeds: a count, or a list; default 1 for a module (it draws the order of the batches), 3 for a function. A finding
                counts where three fifths of the seeds have it.
            expect: "healthy" (the default): no error finding; or a list of rules that must be found, such as
                ["output-collapse"].
            name: told in messages, and part of the baseline's name.
            sites: patterns of the sites to look at, such as "encoder.*".
            rules: the rules to judge by, by name; default: all.
            batch_size: of samples; default 32. Batches of your own are taken as they are.
            allow_code: let a recipe run the code that it names.

        Returns:
            What was found: `verdict`, `findings`, `rules` and more.

        Raises:
            AssertionError: it is not as expected; the message is the diagnosis. Where the check cannot judge, or is used
                wrongly, the test fails in one line instead, which no `pytest.raises(AssertionError)` takes for a finding.
        """
        __tracebackhide__ = True
        values = (loss, optimizer, steps, seeds, expect, name, sites, rules, batch_size, allow_code)
        drawn = random.getstate()  # what is imported below may draw, too
        failure: str | None = None
        try:
            options = options_of(dict(zip(NAMES, values, strict=True)), _marked(request))
            result = _check(TestPlace.of(request, options.name, counts), model_or_recipe, data, options)
        except GradscopeError as error:
            if request.config.getoption("fulltrace"):
                raise
            failure = f"gradscope_check: {explained(error)}"
        finally:
            random.setstate(drawn)
        if failure is None:
            failure = _why_not_judged(result)
        if failure is not None:
            pytest.fail(failure, pytrace=False)
        if result.outcome != "as expected":
            from gradscope.integrations.pytest_message import message

            raise AssertionError(message(result))
        return result

    return gradscope_check


def _marked(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Return the arguments of the test's markers, the closest one's before those of its class and module.

    Raises:
        WatchError: an argument without a name.
    """
    found: dict[str, Any] = {}
    for marker in request.node.iter_markers("gradscope"):
        if marker.args:
            from gradscope.errors import WatchError

            raise WatchError(f"marker gradscope: expected arguments by name, such as steps=200, got {marker.args[0]!r}")
        found = {**marker.kwargs, **found}
    return found


def _check(place: TestPlace, model: Any, data: Any, options: Any) -> CheckResult:  # noqa: ANN401
    from gradscope.integrations.pytest_check import check_model, check_recipe_of_test
    from gradscope.integrations.pytest_options import is_recipe

    if is_recipe(model):
        return check_recipe_of_test(place, model, data, options)
    return check_model(place, model, data, options)


def _why_not_judged(result: CheckResult) -> str | None:
    if result.outcome not in ("could not judge", "bad recipe"):
        return None
    from gradscope.integrations.pytest_message import why_not_judged

    return why_not_judged(result)
