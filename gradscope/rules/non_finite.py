"""GS107 non-finite."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import final

import numpy as np
from numpy.typing import NDArray

from gradscope.rules.base import CannotTell, Case, Judgement, Observation, Rule
from gradscope.rules.examples import example
from gradscope.rules.flow import without_gradient
from gradscope.rules.site_order import leads_to
from gradscope.trace import Trace


@final
class NonFinite(Rule):
    """A loss, an activation or a gradient is NaN or infinite.

    What it does:
        Looks at the training loss of every step (where it was logged) and at the activations and gradients of every recorded
        one, and names the first step. In the step in which it begins it also names the site nearest to the input whose output
        is not finite. A step later the weights are lost as well, and every site shows it. So `watch` looks at a step with a
        gradient that is not finite though its schedule leaves it out, once: before the optimizer's step it runs the network
        again, on copies of its state. That needs one process, one optimizer that is given no closure, a gradient on the
        processor, nothing compiled, and a network called as a whole; a value that is lost in the backward pass only is not
        caught. Where it is not done no site is named, unless weights before it are still in order; the same training again,
        looked at in that step, names it (`every=150` of `watch`, `watch: {every: 150}` of a recipe, for step 150). A gradient
        that was not seen is none that is NaN.

    Why it is bad:
        One NaN spreads to all weights in one step; nothing is learnt from there on.

    When it is wrong:
        Losses that are infinite by design, masked out afterwards.

    Fixes:
        A lower learning rate, gradient clipping, kaiming-normal initialisation, scaled inputs, a numerically stable loss.

    Sources:
        Goodfellow, Bengio and Courville 2016, Deep Learning, section 4.1.
    """

    slug, code, flow = "non-finite", "GS107", "forward"
    steps_needed = 200  # what diverges does so in the first steps, mostly; what comes later is found by `expect: healthy`
    is_final = True

    def judge(self, trace: Trace) -> Judgement:
        """Judge loss, activations and gradients."""
        if not len(trace.loss) and not len(trace.steps):
            return CannotTell("no step was recorded, and no loss")
        bad_loss = trace.steps_of_loss[~np.isfinite(trace.loss)]
        called = [~np.isnan(closed).all(axis=1) for closed in trace.unit_statistics["closed_frac"]]  # not in every step, maybe
        bad_activation = ~np.isfinite(trace.site_statistics["act_rms"])
        if called:
            bad_activation &= np.stack(called, axis=1)
        bad_gradient = np.isinf(trace.output_grad_norm) | _broken_step(trace)
        bad = bad_activation.any(axis=1) | bad_gradient
        if not len(bad_loss) and not bad.any():
            return []
        record = int(np.argmax(bad)) if bad.any() else None
        candidates = [int(step) for step in bad_loss[:1]] + ([] if record is None else [int(trace.steps[record])])
        first = min(candidates)
        shown = record is not None and bool(bad_activation[record].any())
        site, where = _place(trace, record, bad_activation[record], first) if record is not None and shown else (None, "")
        is_loss = bool(len(bad_loss)) and int(bad_loss[0]) == first
        if is_loss and (behind := _behind(trace, first, bad_activation)):  # what a later record shows follows from it
            site, where = None, behind
        kinds = {"the loss": is_loss, "an activation": shown, "a gradient": record is not None}
        what = next(name for name, holds in kinds.items() if holds)
        return [
            Observation(
                site=site,
                first_step=first,
                severity="error",
                evidence={"steps_with_finite_loss": int(np.isfinite(trace.loss).sum()), "steps": len(trace.loss)},
                cause=_cause(trace, first),
                text=f"{what} is not finite from step {first}{where}",
            )
        ]

    @classmethod
    def cases(cls) -> Sequence[Case]:
        """A single NaN is enough."""
        loss = np.where(np.arange(20) < 7, 1.0, np.nan)
        skipped = {(name, 1): np.nan for name in ("act_rms", "closed_frac")}
        broken = {(n, 1): np.where(np.arange(20) < 7, 0.1, np.nan) for n in ("grad_rms", "update_to_weight")}
        act = np.where(np.arange(20) < 7, 1.0, np.inf)
        return [
            Case("loss turns NaN", lambda: example(loss=loss), "error", None, 7),
            Case(
                "loss logged now and then",
                lambda: replace(example(loss=loss), loss_steps=np.arange(0, 60, 3)),
                "error",
                None,
                21,
            ),
            Case("overflow, no loss logged", lambda: example(loss=None, site={("act_rms", 1): act}), "error", 1, 7),
            Case("no loss logged", lambda: example(loss=None), None),
            Case("gradients turn NaN", lambda: example(loss=None, parameter=broken), "error", None, 7),
            Case("an output whose gradient is not seen", _unseen_gradients, None),
            Case("an activation overflows", lambda: example(loss=loss, site={("act_rms", 1): act}), "error", 1, 7),
            Case("a site that is not called in every step", lambda: example(site=skipped), None),
            Case("large but finite", lambda: example(loss=1e30), None),
            Case("no step", lambda: example(records=0), "undecided"),
        ]


def _place(trace: Trace, record: int, bad: NDArray[np.bool_], first: int) -> tuple[int | None, str]:
    """Return the site at which it began, and what to say of it, from the first record that shows it; `bad` is [site]."""
    site, step = int(np.argmax(bad)), int(trace.steps[record])
    before = int(trace.steps[record - 1]) if record else -1
    shows = f"; the first to show it{'' if step == first else f', at step {step},'} is {trace.sites[site].name}"
    in_order = ~without_gradient(trace) & np.isfinite(trace.site_statistics["act_rms"][record]) & leads_to(trace)[:, site]
    if before == step - 1 or in_order.any():
        return site, shows
    if step == first and step - 1 in trace.steps_of_loss:  # a finite one: `first` is the first that is not
        return site, f"{shows}; the gradients of step {step - 1}, of which that may come, were not looked at"
    if step == first:
        return None, f" or before; where is not known: no step between {before} and {step} was looked at, nor its loss logged"
    again = f": the same run with `every` {first} looks at it" if first else ""
    return None, f"; where is not known: step {first} was not looked at, and by step {step} the weights are lost{again}"


def _behind(trace: Trace, first: int, bad: NDArray[np.bool_]) -> str:
    """Return what to say of a loss that is not finite in a step in which every site is; `bad` is [record, site]."""
    records = np.flatnonzero(trace.steps == first)
    if not len(records) or bad[records[0]].any() or not np.isfinite(trace.site_statistics["act_rms"][records[0]]).any():
        return ""
    return f"; in that step every site is finite, so it begins behind {trace.sites[-1].name}, in the output or the loss"


def _broken_step(trace: Trace) -> NDArray[np.bool_]:
    """Return in which records a parameter that was looked at has a gradient, and a step, that is not finite, [record]."""
    statistics = trace.parameter_statistics
    broken = ~np.isfinite(statistics["grad_rms"]) & ~np.isfinite(statistics["update_to_weight"])
    return np.asarray((broken & np.isfinite(statistics["nonpositive_weight_frac"])).any(axis=1))


def _cause(trace: Trace, first: int) -> str:
    if not len(trace.loss):
        return "whether the loss had grown before is not known: none was logged"
    earlier = trace.loss[trace.steps_of_loss < first]
    before = float(earlier[-1]) if len(earlier) else float("nan")
    if np.isfinite(before) and before > 10 * abs(float(trace.loss[0])):
        return f"the loss had grown to {before:.2g} before"
    return "it came without the loss growing before"


def _unseen_gradients() -> Trace:
    names = ("grad_rms", "grad_to_weight", "update_to_weight", "nonpositive_weight_frac")
    trace = example(parameter={(name, 0): np.nan for name in names})
    trace.output_grad_norm[:] = np.nan
    return trace
