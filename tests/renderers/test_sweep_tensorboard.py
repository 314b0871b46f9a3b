"""A sweep's HParams table, written and read back."""

import made_sweeps as made
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2

from gradscope.errors import WriteError
from gradscope.renderers.sweep_tensorboard import write_sweep_run
from gradscope.sweep_results import sweep_result


def scalars(folder):
    found = EventAccumulator(str(folder)).Reload()
    return {tag: found.Scalars(tag)[0].value for tag in found.Tags()["scalars"]}


def hparams(folder, tag):
    accumulator = EventAccumulator(str(folder)).Reload()
    data = accumulator.SummaryMetadata(tag).plugin_data.content
    return plugin_data_pb2.HParamsPluginData.FromString(data)


def sweep():
    cells = [made.cell(factors, 2) for factors in made.grid(act1=["relu", "tanh"], lr=["0.1", "0.01"])]
    runs = [[made.run(1, 0.9), made.collapsed_run(2, 0.1)], [made.run(1, 0.8)], [], [made.run(1, float("nan"))]]
    return sweep_result(cells, runs)


def test_each_trained_cell_is_a_session_with_its_factors_and_numbers(tmp_path):
    write_sweep_run(sweep(), tmp_path)
    assert sorted(folder.name for folder in tmp_path.iterdir() if folder.is_dir()) == ["cell-0", "cell-1", "cell-3"]
    start = hparams(tmp_path / "cell-0", metadata.SESSION_START_INFO_TAG).session_start_info
    found = start.hparams
    assert (set(found), found["act1"].string_value, found["lr"].number_value) == ({"act1", "lr"}, "relu", 0.1)
    assert scalars(tmp_path / "cell-0") == {"accuracy/test": pytest.approx(0.5), "result/collapsed_frac": pytest.approx(0.5)}
    assert scalars(tmp_path / "cell-3") == {"accuracy/test": pytest.approx(0.1), "result/collapsed_frac": 1.0}


def test_the_columns_are_the_factors_and_the_metrics(tmp_path):
    write_sweep_run(sweep(), tmp_path)
    experiment = hparams(tmp_path, metadata.EXPERIMENT_TAG).experiment
    assert [info.name for info in experiment.hparam_infos] == ["act1", "lr"]
    kinds = [api_pb2.DataType.Name(info.type) for info in experiment.hparam_infos]
    assert kinds == ["DATA_TYPE_STRING", "DATA_TYPE_FLOAT64"]
    assert [info.name.tag for info in experiment.metric_infos] == ["accuracy/test", "result/collapsed_frac"]


def test_a_smaller_grid_leaves_no_folder_of_the_larger(tmp_path):
    write_sweep_run(sweep(), tmp_path)
    (tmp_path / "cell-3" / "own.txt").touch()
    write_sweep_run(sweep().model_copy(update={"rows": sweep().rows[:1]}), tmp_path)
    assert sorted(folder.name for folder in tmp_path.glob("cell-*")) == ["cell-0", "cell-3"]


def test_a_second_call_replaces_the_first(tmp_path):
    for _ in range(2):
        write_sweep_run(sweep(), tmp_path)
    assert all(len(list(folder.iterdir())) == 1 for folder in tmp_path.glob("cell-*"))
    assert len(list(tmp_path.glob("events.out.*"))) == 1


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(WriteError, match="cannot be written"):
        write_sweep_run(sweep(), tmp_path / "file")
