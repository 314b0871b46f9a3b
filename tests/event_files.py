"""Reading event files as TensorBoard does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.compat.proto.summary_pb2 import DATA_CLASS_TENSOR
from tensorboard.util import tensor_util


def read(folder: Path) -> EventAccumulator:
    return EventAccumulator(str(folder), size_guidance={"tensors": 0, "scalars": 0}).Reload()


def only(folder: Path, name: str) -> str:
    """The one tag of a name; what follows it in the tag is the number of who began it."""
    (tag,) = [tag for tag in read(folder).Tags()["tensors"] if tag.rstrip("0123456789") == name]
    return tag


def tensors(folder: Path, name: str) -> tuple[list[int], Any]:
    events = read(folder).Tensors(only(folder, name))
    return [event.step for event in events], np.stack([tensor_util.make_ndarray(event.tensor_proto) for event in events])


def told(folder: Path, name: str) -> Any:
    metadata = read(folder).SummaryMetadata(only(folder, name))
    assert metadata.data_class == DATA_CLASS_TENSOR
    assert metadata.plugin_data.plugin_name == "gradscope"
    return json.loads(metadata.plugin_data.content)
