"""The tensors that the Gradscope tab draws, as they are in event files."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import reports
from event_files import tensors, told

from gradscope.renderers.tensorboard import TensorBoardLog
from gradscope.renderers.tensorboard_form import SITES, UNITS, Author
from gradscope.renderers.tensorboard_tensors import (
    ALL_SITES,
    ALL_UNITS,
    LATER_SITES,
    LATER_UNITS,
    MOST_UNITS,
    MOST_VALUES,
    Batch,
    Written,
    is_written,
    tensor_events,
)  # fmt: skip
from gradscope.renderers.view_statistics import UNITS_SHOWN, site_statistics
from gradscope.rules.examples import example
from gradscope.tensorboard_plugin.loader import SAMPLES
from gradscope.trace import Site, Trace

AUTHOR = Author("control", 1, "accuracy", 0)


def batch(trace: Trace, first: int = 0) -> Batch:
    return Batch(trace, first, site_statistics(trace, first))


def test_each_record_is_one_tensor_of_sites_by_statistics(tmp_path: Path) -> None:
    trace = reports.trace(seed=3)
    TensorBoardLog(tmp_path).update([trace])
    steps, values = tensors(tmp_path / "control-3", SITES)
    about = told(tmp_path / "control-3", SITES)
    assert steps == trace.steps.tolist()
    assert (about["arm"], about["seed"], [site["name"] for site in about["sites"]]) == ("control", 3, list(reports.NAMES))
    for i, name in enumerate(about["statistics"]):
        assert np.array_equal(values[:, :, i], site_statistics(trace)[name], equal_nan=True)


def test_units_stand_in_a_row_in_half_precision(tmp_path: Path) -> None:
    trace = reports.trace()
    TensorBoardLog(tmp_path).update([trace])
    steps, values = tensors(tmp_path / "control-1", UNITS)
    about = told(tmp_path / "control-1", UNITS)
    assert (steps, about["kept"], values.dtype) == (trace.steps.tolist(), [4, 4, 2], np.float16)
    for i, name in enumerate(about["statistics"]):
        assert np.allclose(values[:, i], np.concatenate(trace.unit_statistics[name], axis=1), rtol=1e-3)


def test_nothing_becomes_zero_or_one_or_infinite_in_half_precision(tmp_path: Path) -> None:
    trace = example(("shuts",), records=1)
    odd = np.float32([0, 1, 1 - 1e-6, 1e-9, 1e9, np.inf, np.nan, 0.5, 1e-45, 65520])
    trace.unit_statistics["closed_frac"][0][0] = odd
    TensorBoardLog(tmp_path).update([trace])
    found = tensors(tmp_path / "control-1", UNITS)[1][0, UNITS_SHOWN.index("closed_frac")].astype(np.float32)
    assert np.array_equal(found == 0, odd == 0)
    assert np.array_equal(found == 1, odd == 1)
    assert np.array_equal(np.isinf(found), np.isinf(odd))
    assert np.array_equal(np.isnan(found), np.isnan(odd))


def test_growing_traces_are_written_once(tmp_path: Path) -> None:
    whole = reports.trace()
    log = TensorBoardLog(tmp_path)
    for records in (0, 2, 2, 5, 6, 6):
        log.update([reports.shortened(whole, records, 0)])
    TensorBoardLog(tmp_path / "once").update([whole])
    for tag in (SITES, UNITS):
        steps, values = tensors(tmp_path / "control-1", tag)
        assert steps == whole.steps.tolist()
        assert np.array_equal(values, tensors(tmp_path / "once" / "control-1", tag)[1], equal_nan=True)


def test_the_last_record_is_written_at_the_end(tmp_path: Path) -> None:
    whole = reports.trace(records=ALL_UNITS + LATER_UNITS)
    log = TensorBoardLog(tmp_path)
    log.update([reports.shortened(whole, ALL_UNITS, 0)])
    log.update([whole])
    left_out = whole.steps[-1]
    assert left_out not in tensors(tmp_path / "control-1", UNITS)[0]
    log.finish(reports.sick())
    steps, values = tensors(tmp_path / "control-1", UNITS)
    assert (steps[-1], steps.count(left_out)) == (left_out, 1)
    assert np.allclose(values[-1, UNITS_SHOWN.index("closed_frac"), :4], whole.unit_statistics["closed_frac"][0][-1], rtol=1e-3)
    assert tensors(tmp_path / "control-1", SITES)[0].count(left_out) == 1


def test_of_wide_and_many_sites_few_units_are_written() -> None:
    def kept(sites: int, units: int) -> list[int]:
        trace = example(["shuts"] * sites, records=1)
        wide = {name: tuple(np.zeros((1, units), np.float32) for _ in trace.sites) for name in UNITS_SHOWN}

        changed = tuple(Site(site.name, np.zeros(units, bool), np.zeros(units, bool)) for site in trace.sites)
        ((_, _), (_, summary)), _ = tensor_events(batch(replace(trace, sites=changed, unit_statistics=wide)), AUTHOR, Written())
        numbers: list[int] = json.loads(summary.value[0].metadata.plugin_data.content)["kept"]
        assert len(summary.value[0].tensor.tensor_content) == 2 * 3 * sum(numbers)
        return numbers

    assert kept(1, 50) == [50]
    assert kept(2, 5000) == [MOST_UNITS] * 2
    assert sum(kept(200, 5000)) * 3 <= MOST_VALUES
    assert min(kept(200, 5000)) > 20


@pytest.mark.parametrize(("all_until", "stride", "most"), [(ALL_SITES, LATER_SITES, SAMPLES), (ALL_UNITS, LATER_UNITS, 400)])
def test_a_hundred_thousand_records_are_thinned_below_what_tensorboard_keeps(all_until: int, stride: int, most: int) -> None:
    written = [record for record in range(100_000) if is_written(record, all_until, stride)]
    assert written[:all_until] == list(range(all_until))
    assert all_until < len(written) <= most
    gaps = np.diff(written[all_until:])
    assert (np.diff(gaps) >= 0).all()
    assert gaps[-1] < 0.03 * 100_000


def test_a_trace_without_sites_or_records_has_no_tensors() -> None:
    assert tensor_events(batch(example(())), AUTHOR, Written()) == ([], Written())
    assert tensor_events(batch(example(records=3), 3), AUTHOR, Written()) == ([], Written())
