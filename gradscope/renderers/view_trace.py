"""What of a trace the HTML report draws."""

from __future__ import annotations

from gradscope.renderers.view_member import Curves, MemberRecords, UnitRecords, sampled_units
from gradscope.renderers.view_sites import facts_of
from gradscope.renderers.view_statistics import UNITS_SHOWN, site_statistics
from gradscope.trace import Trace


def records_of(trace: Trace) -> MemberRecords:
    """Return the statistics of the sites."""
    return MemberRecords([facts_of(site) for site in trace.sites], trace.steps, site_statistics(trace))


def units_of(trace: Trace, site: int, most: int) -> UnitRecords:
    """Return the histories of at most `most` units of a site."""
    count = trace.sites[site].units
    chosen = sampled_units(count, most)
    shown = {name: values[site][:, chosen] for name, values in trace.unit_statistics.items() if name in UNITS_SHOWN}
    return UnitRecords(count, chosen, trace.steps, shown)


def curves_of(trace: Trace) -> Curves:
    """Return loss and metric."""
    return Curves(
        metric_name=trace.task.metric,
        loss_steps=trace.steps_of_loss,
        loss=trace.loss,
        metric_steps=trace.evaluation_steps,
        metric=trace.evaluation_metric,
        test_loss=trace.evaluation_loss,
        recorded=trace.steps,
    )
