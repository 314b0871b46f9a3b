"""A TensorBoard in this process, over real event files: its own loaders, the plugin as it finds it, no port."""

from __future__ import annotations

import json
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

LOADERS = ("python", "fast")


class Board:
    """Asks the plugin's routes."""

    def __init__(self, client: Any, prefix: str = "", read_on: Callable[[], None] = lambda: None) -> None:
        self.client, self.prefix, self.read_on = client, prefix, read_on

    def get(self, path: str, **arguments: object) -> Any:
        """Return the answer to ./path below the plugin's address."""
        told = {name: str(value) for name, value in arguments.items()}
        return self.client.get(f"{self.prefix}/data/plugin/gradscope/{path}", query_string=told)

    def json(self, path: str, **arguments: object) -> Any:
        answer = self.get(path, **arguments)
        assert answer.status_code == 200, answer.data
        return json.loads(answer.data, parse_constant=_refuse)

    def arrays(self, path: str, **arguments: object) -> dict[str, Any]:
        answer = self.get(path, **arguments)
        assert answer.status_code == 200, answer.data
        assert answer.mimetype == "application/octet-stream"
        return unpacked(answer.data)

    def refused(self, path: str, **arguments: object) -> tuple[int, str]:
        answer = self.get(path, **arguments)
        return answer.status_code, answer.json["error"]


def unpacked(data: bytes) -> dict[str, Any]:
    """Return packed arrays by name, with the other keys of the header."""
    length = int.from_bytes(data[:4], "little")
    assert (4 + length) % 4 == 0
    header = json.loads(data[4 : 4 + length], parse_constant=_refuse)
    found, rest = dict(header), data[4 + length :]
    for array in found.pop("arrays"):
        size = 4 * int(np.prod(array["shape"]))
        found[array["name"]] = np.frombuffer(rest[:size], f"<{array['dtype'][0]}4").reshape(array["shape"])
        rest = rest[size:]
    assert not rest
    return found


@contextmanager
def board(folder: Path, loader: str = "python", *flags: str) -> Iterator[Board]:
    """Yield a board over all that is in `folder`, read once."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of TensorBoard's own modules, and of the fast loader's process, which it lets go
        from tensorboard import default, program
        from tensorboard.backend import application
        from tensorboard.backend.event_processing import data_ingester
        from tensorboard.data import server_ingester
        from werkzeug.test import Client

        from gradscope.tensorboard_plugin.loader import GradscopeLoader

        tensorboard = program.TensorBoard(plugins=[*default.get_static_plugins(), GradscopeLoader])
        once = ["--reload_interval=0", "--reload_task=blocking", "--load_fast=false"]
        tensorboard.configure(argv=["tensorboard", "--logdir", str(folder), *once, *flags])
        given = tensorboard.flags
        if loader == "fast":
            try:
                binary = server_ingester.get_server_binary()
            except server_ingester.NoDataServerError as error:
                pytest.skip(f"TensorBoard's fast loader: {error}")
            ingester = server_ingester.SubprocessServerDataIngester(
                binary, given.logdir, reload_interval=0, channel_creds_type=given.grpc_creds_type,
                samples_per_plugin=given.samples_per_plugin,
            )  # fmt: skip
        else:
            ingester = data_ingester.LocalDataIngester(given)
        ingester.start()
        multiplexer = getattr(ingester, "deprecated_multiplexer", None)
        plugins = tensorboard.plugin_loaders
        app = application.TensorBoardWSGIApp(given, plugins, ingester.data_provider, None, multiplexer)

        def read_on() -> None:
            """Read what was written since, as TensorBoard's slower loader does every few seconds."""
            assert multiplexer is not None, "only the Python loader can be told to"
            with warnings.catch_warnings(action="ignore"):
                multiplexer.AddRunsFromDirectory(given.logdir)
                multiplexer.Reload()

        found = Board(Client(app), given.path_prefix, read_on)
        _wait_until_read(found)
    try:
        yield found
    finally:
        if loader == "fast":
            ingester._stdin_handle.close()  # its process ends with it


def _wait_until_read(found: Board) -> None:
    """The fast loader answers before it has read everything."""
    last, deadline = None, time.monotonic() + 60
    while time.monotonic() < deadline:
        answer = found.json("runs")
        if answer and answer == last:
            return
        last = answer
        time.sleep(0.1)


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")
