"""The form of what the Gradscope tab reads from event files: tags, and what they tell of themselves.

It is that of docs/view-data.md's event files. TensorBoard keeps only what a tag's first event tells, and keeps in memory what
was read from files that are gone. So whoever writes a folder anew writes tags of its own, which tell from which step on they
stand in place of earlier ones.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from tensorboard.compat.proto.summary_pb2 import DATA_CLASS_TENSOR, Summary, SummaryMetadata  # type: ignore[import-untyped]
from tensorboard.compat.proto.tensor_pb2 import TensorProto  # type: ignore[import-untyped]
from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto  # type: ignore[import-untyped]
from tensorboard.compat.proto.types_pb2 import DT_FLOAT, DT_HALF, DT_STRING  # type: ignore[import-untyped]

PLUGIN = "gradscope"
SITES, UNITS = "gradscope/sites", "gradscope/units"
LOSS, EVALUATIONS = "gradscope/loss", "gradscope/evaluations"
REPORT, VERDICT = "gradscope/report", "gradscope/verdict"
FORM = 1  # of the tensors and what their tags tell

KINDS = {"float32": DT_FLOAT, "float16": DT_HALF}


def next_number() -> int:
    """Return a number for tags, in microseconds: larger than those of whoever wrote to the folder before."""
    return time.time_ns() // 1000


@dataclass(frozen=True)
class Author:
    """One member's writer, as its tags tell of it; `first` is the first step that it writes."""

    arm: str
    seed: int
    metric: str
    first: int
    number: int = field(default_factory=next_number)

    @property
    def about(self) -> dict[str, object]:
        """What each of its tags tells."""
        return {
            "form": FORM,
            "arm": self.arm,
            "seed": self.seed,
            "metric": self.metric,
            "author": self.number,
            "first": self.first,
        }


def tensor_summary(tag: str, values: NDArray[np.generic], about: Mapping[str, object] | None) -> Summary:
    """Return an array as a summary; `about` is told by a tag's first one."""
    shape = TensorShapeProto(dim=[TensorShapeProto.Dim(size=size) for size in values.shape])
    tensor = TensorProto(dtype=KINDS[values.dtype.name], tensor_content=values.tobytes(), tensor_shape=shape)
    metadata = None if about is None else _metadata(about)
    return Summary(value=[Summary.Value(tag=tag, tensor=tensor, metadata=metadata)])


def report_summary(described: Mapping[str, object]) -> Summary:
    """Return the diagnosis for the tab, beside its verdict for the list of runs."""
    text = json.dumps(described, allow_nan=False, separators=(",", ":"))
    told = verdict_summary(str(described["title"]), str(described["verdict"]))
    return Summary(value=[_text_value(REPORT, text), *told.value])


def verdict_summary(title: str | None, verdict: str | None) -> Summary:
    """Return title and verdict for the list of runs; both None where a training begins: an older report is none of it."""
    return Summary(value=[_text_value(VERDICT, json.dumps({"title": title, "verdict": verdict}))])


def _text_value(tag: str, text: str) -> Summary.Value:
    tensor = TensorProto(dtype=DT_STRING, string_val=[text.encode()], tensor_shape=TensorShapeProto())
    return Summary.Value(tag=tag, tensor=tensor, metadata=_metadata({"form": FORM}))


def _metadata(content: Mapping[str, object]) -> SummaryMetadata:
    plugin = SummaryMetadata.PluginData(plugin_name=PLUGIN, content=json.dumps(content).encode())
    return SummaryMetadata(plugin_data=plugin, data_class=DATA_CLASS_TENSOR)
