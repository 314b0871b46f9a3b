"""GS201 frozen-weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import final

import numpy as np

from gradscope.report import Severity
from gradscope.rules.base import CannotTell, Case, Judgement, Observation, Rule
from gradscope.rules.examples import example
from gradscope.rules.flow import weight_columns, without_gradient
from gradscope.rules.learning import has_learnt
from gradscope.rules.window import WINDOW_RECORDS
from gradscope.trace import Trace

# Of a weight's size: what float32 may round a step to zero that was meant (its rounding is a sixteenth of this). A weight that
# would move less stands still for want of a gradient, and that is another rule's.
MEANT = 1e-6
MOST_NAMED = 3
_WORST_FIRST: tuple[Severity, ...] = ("error", "warning", "note")


@dataclass(frozen=True)
class _Part:
    """One way in which weights stand still."""

    severity: Severity
    names: tuple[str, ...]
    text: str
    cause: str
    site: int | None = None


@final
class FrozenWeights(Rule):
    """Weights that are to be trained never receive a gradient, or receive one and do not move.

    What it does:
        Looks over all records (three or more) for weights that never have a gradient while others have one, and for weights
        that have one but whose step is always exactly 0 while others move. It is an error where the network cuts its own graph
        (`detach`, `.data`) and weights are left without a gradient, and where weights stand still and the network does not
        learn; else a warning, as where the network runs weights under torch.no_grad, or a note where weights seem not to be
        used. Parameters with requires_grad=False are a note.

    Why it is bad:
        What does not move stays as it was drawn: the network learns from random features, and nothing else looks wrong.

    When it is wrong:
        Parts that are frozen on purpose: set requires_grad=False to say so, which also saves their gradients. Parts whose
        turn comes later in the training.

    Fixes:
        Remove the detach, .data or no_grad on the way; give all parameters to the optimizer, with a learning rate above 0.

    Sources:
        PyTorch's notes on autograd mechanics (locally disabling gradient computation).
    """

    slug, code, flow = "frozen-weights", "GS201", "weights"
    steps_needed = 200  # a weight that has not moved in two dozen records is not meant to

    def judge(self, trace: Trace) -> Judgement:
        """Judge the weights' gradients and steps."""
        if len(trace.steps) < WINDOW_RECORDS:
            return CannotTell(f"gradients were recorded in {len(trace.steps)} steps, {WINDOW_RECORDS} are needed; train longer")
        left_out = {*trace.frozen, *trace.unmeasured}
        columns = [i for i in weight_columns(trace) if trace.parameters[i] not in left_out]
        absent = [i for i in columns if _is_without(trace, i)]
        still = _standing(trace, [i for i in columns if i not in absent])
        parts = [self._cut_off(trace, absent)] if 0 < len(absent) < len(columns) else []
        parts += [self._standing(trace, still, len(columns))] if still else []
        parts += [self._frozen(trace)] if trace.frozen else []
        if not parts:
            return []
        worst = min(parts, key=lambda part: _WORST_FIRST.index(part.severity))
        counts = {"without_gradient": len(absent), "standing_still": len(still), "frozen": len(trace.frozen)}
        return [
            Observation(
                site=worst.site,
                first_step=int(trace.steps[0]),
                severity=worst.severity,
                evidence=counts | {"weights": len(columns), "parameters": list(worst.names[:MOST_NAMED])},
                cause=worst.cause,
                text="; ".join(part.text for part in sorted(parts, key=lambda part: part is not worst)),
            )
        ]

    @staticmethod
    def _cut_off(trace: Trace, absent: list[int]) -> _Part:
        names = tuple(trace.parameters[i] for i in absent)
        wanting = [i for i, site in enumerate(trace.sites) if site.wants_gradient and without_gradient(trace)[i]]
        text = f"no gradient ever comes to {_listed(names)}"
        if trace.detached and wanting:  # else what is cut has nothing to do with weights that nobody uses
            cause = f"the network cuts its graph at {_listed(trace.detached)}: nothing before that is trained"
            return _Part("error", names, text, cause, wanting[-1])
        if ungraded := [name for name in names if name in trace.ungraded]:
            cause = f"the network runs {_listed(ungraded)} while gradients are switched off: nothing up to there is trained"
            return _Part("warning", names, text, cause)
        cause = "what they compute is not used for the loss, or is cut from its graph on the way"
        return _Part("note" if has_learnt(trace) else "warning", names, text, cause)

    @staticmethod
    def _standing(trace: Trace, still: list[int], weights: int) -> _Part:
        names = tuple(trace.parameters[i] for i in still)
        learnt = has_learnt(trace)
        severity: Severity = "error" if learnt is False else "warning"
        text = f"{_listed(names)} {'has' if len(names) == 1 else 'have'} a gradient but never move{'s' * (len(names) == 1)}"
        cause = "no optimizer holds them, or their learning rate is 0"
        if len(still) == weights:
            text, cause = "no weight moves, though gradients come", "the learning rate is 0"
        return _Part(severity, names, text, cause)

    @staticmethod
    def _frozen(trace: Trace) -> _Part:
        text = f"{len(trace.frozen)} of {len(trace.frozen) + len(trace.parameters)} parameters are not to be trained"
        return _Part("note", trace.frozen, text, "requires_grad is False")

    @classmethod
    def cases(cls) -> Sequence[Case]:
        """Not to be trained is no failure; to be trained and not to move is one."""
        none = {(name, 0): np.nan for name in ("grad_rms", "grad_to_weight", "update_to_weight", "nonpositive_weight_frac")}
        cut = {("grad_rms", 0): np.nan, ("gate_transmission", 0): np.nan, ("weight_transmission", 0): np.nan}
        still = {("update_to_weight", 1): 0.0}
        all_still = {("update_to_weight", i): 0.0 for i in range(3)}
        vanished = still | {("grad_rms", 1): 1e-12, ("grad_to_weight", 1): 1e-12}

        def stuck(parameter: Mapping[tuple[str, int], float]) -> Trace:
            return example(records=40, metric=0.1, loss=2.3, parameter=parameter)

        def unused() -> Trace:
            return example(parameter=none)

        def unrelated() -> Trace:
            return replace(unused(), detached=("model.detach@model.py:3",))

        def detached() -> Trace:
            return replace(example(parameter=none, site=cut), detached=("model.detach@model.py:3",))

        return [
            Case("a branch is detached", detached, "error", 0, 0),
            Case("a part is run without gradients", lambda: replace(unused(), ungraded=("1.weight",)), "warning", None, 0),
            Case("another part is run without gradients", lambda: replace(unused(), ungraded=("9.weight",)), "note", None, 0),
            Case("a part is not used", unused, "note", None, 0),
            Case("a part has no gradient, nothing is learnt", lambda: stuck(none), "warning", None, 0),
            Case("does not move", lambda: example(parameter=still), "warning", None, 0),
            Case("does not move, nothing is learnt", lambda: stuck(still), "error", None, 0),
            Case("nothing moves", lambda: stuck(all_still), "error", None, 0),
            Case("too little gradient to move by", lambda: example(parameter=vanished), None),
            Case("not to be trained", lambda: replace(example(), frozen=("0.weight",)), "note", None, 0),
            Case("sparse gradients", lambda: replace(example(parameter=none), unmeasured=("1.weight",)), None),
            Case("something is detached, something is unused", unrelated, "note", None, 0),
            Case("detached what has no weights", lambda: replace(example(), detached=("model.detach@model.py:3",)), None),
            Case("ordinary", example, None),
            Case("two records", lambda: example(records=2), "undecided"),
        ]


def _is_without(trace: Trace, i: int) -> bool:
    """Tell whether a parameter was never looked at, as it never had a gradient: one that is NaN has signs all the same."""
    seen = (trace.parameter_statistics[name][:, i] for name in ("grad_rms", "nonpositive_weight_frac"))
    return all(np.isnan(values).all() for values in seen)


def _standing(trace: Trace, columns: list[int]) -> list[int]:
    """Return the parameters whose step is always 0 though, by what others move for their gradients, it should not be."""
    gradients, updates = (trace.parameter_statistics[name] for name in ("grad_to_weight", "update_to_weight"))
    known = {i: np.isfinite(gradients[:, i]) & np.isfinite(updates[:, i]) & (gradients[:, i] > 0) for i in columns}
    ratios = [np.median(updates[rows, i] / gradients[rows, i]) for i, rows in known.items() if (updates[rows, i] > 0).any()]
    moves_by = float(np.median(ratios)) if ratios else 1.0
    return [
        i
        for i, rows in known.items()
        if rows.sum() >= WINDOW_RECORDS and not updates[rows, i].any() and np.median(gradients[rows, i]) * moves_by > MEANT
    ]


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return ", ".join(names[:MOST_NAMED]) + more
