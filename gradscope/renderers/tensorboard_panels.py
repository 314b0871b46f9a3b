"""What TensorBoard shows beside the scalars: the diagnosis as text, the HParams table, a layout of charts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata  # type: ignore[import-untyped]
from tensorboard.compat.proto.tensor_pb2 import TensorProto  # type: ignore[import-untyped]
from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto  # type: ignore[import-untyped]
from tensorboard.compat.proto.types_pb2 import DT_STRING  # type: ignore[import-untyped]
from tensorboard.plugins.custom_scalar import layout_pb2  # type: ignore[import-untyped]
from tensorboard.plugins.custom_scalar import metadata as custom_scalar
from tensorboard.plugins.hparams import metadata as hparams_metadata  # type: ignore[import-untyped]
from tensorboard.plugins.hparams import plugin_data_pb2, summary_v2
from tensorboard.plugins.text.summary_v2 import text_pb  # type: ignore[import-untyped]

from gradscope.renderers.tensorboard_scalars import metric_tag

Hyperparameter = str | int | float | bool
SUCCESS = 1  # tensorboard.plugins.hparams.api_pb2.STATUS_SUCCESS


def text_summary(tag: str, markdown: str) -> Summary:
    """Return a Markdown text; a scalar string, so that TensorBoard puts no table around it."""
    return text_pb(tag, markdown)


def experiment_summary(
    hparams: Sequence[str], metrics: Mapping[str, str], values: Mapping[str, Sequence[Hyperparameter]] | None = None
) -> Summary:
    """Return the HParams table's columns: hyperparameters, and metrics as tag -> title.

    Of one whose `values` are told, all of one type, TensorBoard knows whether it is a number, and has an axis for it.
    """
    known = values or {}
    columns = [summary_v2.HParam(name, summary_v2.Discrete(known[name]) if name in known else None) for name in hparams]
    return summary_v2.hparams_config_pb(columns, [summary_v2.Metric(tag, display_name=title) for tag, title in metrics.items()])


def session_summaries(run: str, hparams: Mapping[str, Hyperparameter]) -> list[Summary]:
    """Return the start and the end of one run in the HParams table; bools as yes and no, which it would show as 0.0000."""
    values = {name: ("yes" if v else "no") if isinstance(v, bool) else v for name, v in hparams.items()}
    content = plugin_data_pb2.HParamsPluginData(session_end_info=plugin_data_pb2.SessionEndInfo(status=SUCCESS))
    end = Summary.Value(
        tag=hparams_metadata.SESSION_END_INFO_TAG,
        metadata=hparams_metadata.create_summary_metadata(content),
        tensor=hparams_metadata.NULL_TENSOR,
    )
    return [summary_v2.hparams_pb(values, trial_id=run), Summary(value=[end])]


def layout_summary(metric: str) -> Summary:
    """Return the layout of the custom scalars: four charts of aggregates, few enough that runs stay apart by colour.

    `metric` is empty where the loop told none.
    """
    charts = {
        "Does it learn": [*([metric_tag(metric), "loss/test"] if metric else []), "loss/train"],
        "How much gradient is left": ["gradient/share_at_input", "gradient/smallest_gate", "gradient/smallest_weight"],
        "Units": ["units/largest_dead_frac", "units/largest_saturated_frac"],
        "Size of updates": ["updates/smallest_to_weight", "updates/largest_to_weight"],
    }
    layout = layout_pb2.Layout(
        category=[
            layout_pb2.Category(
                title="gradscope",
                chart=[
                    layout_pb2.Chart(title=title, multiline=layout_pb2.MultilineChartContent(tag=[f"^{tag}$" for tag in tags]))
                    for title, tags in charts.items()
                ],
            )
        ]
    )
    tensor = TensorProto(dtype=DT_STRING, string_val=[layout.SerializeToString()], tensor_shape=TensorShapeProto())
    plugin = SummaryMetadata(plugin_data=SummaryMetadata.PluginData(plugin_name=custom_scalar.PLUGIN_NAME))
    return Summary(value=[Summary.Value(tag=custom_scalar.CONFIG_SUMMARY_TAG, tensor=tensor, metadata=plugin)])
