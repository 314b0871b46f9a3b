"""The tab's routes: the page's files, and what it draws. docs/view-data.md tells what each answers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tensorboard.backend import http_util  # type: ignore[import-untyped]
from tensorboard.plugins.base_plugin import FrontendMetadata, TBContext, TBPlugin  # type: ignore[import-untyped]
from werkzeug.wrappers import Request, Response

from gradscope.tensorboard_plugin.loader import NAME

if TYPE_CHECKING:
    from gradscope.renderers.view_member import Range
    from gradscope.tensorboard_plugin.event_data import EventData
    from gradscope.tensorboard_plugin.kept import Kept

STATIC = Path(__file__).parent / "static"
TYPES = {".js": "text/javascript", ".css": "text/css"}
ENTRY = "index.js"
MOST_COLUMNS = 4000

WsgiApp = Callable[..., Any]


class WrongArguments(Exception):
    """Arguments of a request that cannot be used; the message is for the reader."""


class GradscopePlugin(TBPlugin):  # type: ignore[misc]
    """Answers the tab's questions from what TensorBoard has read."""

    plugin_name = NAME

    def __init__(self, context: TBContext) -> None:
        self._provider = context.data_provider
        self._kept: Kept | None = None  # made when the tab is looked at

    def is_active(self) -> bool:
        """Leave it to TensorBoard to look whether there is data of ours."""
        return False

    def frontend_metadata(self) -> FrontendMetadata:
        """Return the tab's title and the module that draws it."""
        return FrontendMetadata(es_module_path="/static/index.js", tab_name="Gradscope")

    def get_plugin_apps(self) -> dict[str, WsgiApp]:
        """Return the routes, below /data/plugin/gradscope."""
        return {
            "/static/*": static_file,
            "/runs": self._route(lambda data, _: data.runs()),
            "/document": self._route(lambda data, request: data.document(_text(request, "run"))),
            "/matrix": self._route(
                lambda data, request: data.matrix(_text(request, "member"), _text(request, "statistic"), _range(request))
            ),
            "/units": self._route(
                lambda data, request: data.units(
                    _text(request, "member"), _number(request, "site", 0), _text(request, "statistic"), _range(request)
                )
            ),
            "/waterfall": self._route(lambda data, request: data.waterfall(_text(request, "member"), _range(request))),
            "/series": self._route(lambda data, request: data.series(_text(request, "member"), _range(request))),
        }

    def _route(self, answer: Callable[[EventData, Request], object]) -> WsgiApp:
        """Return the application that answers with JSON or bytes, and with one line in JSON where it cannot."""

        def app(request: Request) -> Response:
            from tensorboard import plugin_util  # type: ignore[import-untyped]  # it warns of itself when it is imported

            from gradscope.tensorboard_plugin.event_data import EventData, NotThere
            from gradscope.tensorboard_plugin.kept import Kept

            self._kept = self._kept or Kept()
            context = plugin_util.context(request.environ)
            data = EventData(self._provider, context, plugin_util.experiment_id(request.environ), self._kept)
            try:
                found = answer(data, request)
            except WrongArguments as error:
                return _failure(request, error, 400)
            except NotThere as error:
                return _failure(request, error, 404)
            kind = "application/octet-stream" if isinstance(found, bytes) else "application/json"
            return _respond(request, found, kind)

        wrapped: WsgiApp = Request.application(app)
        return wrapped


@Request.application
def static_file(request: Request) -> Response:
    """Answer with one of the page's files; they lie in one folder, so only the last part of the path counts."""
    path = STATIC / request.path.replace("\\", "/").rpartition("/")[2]
    if path.suffix not in TYPES or not path.is_file():
        return _respond(request, "not found", "text/plain", 404)
    content = _joined() if path.name == ENTRY else path.read_bytes()
    return _respond(request, content, TYPES[path.suffix])


def _joined() -> bytes:
    """Return the entry module with all that it needs: one answer, where a browser would ask level by level for forty."""
    from gradscope.renderers.html_script import joined_script

    modules = {path.name: path.read_text(encoding="utf-8") for path in STATIC.glob("*.js")}
    return f"{joined_script(modules, ENTRY)}export const {{ render }} = entry;\n".encode()


def _respond(request: Request, content: object, kind: str, code: int = 200) -> Response:
    response: Response = http_util.Respond(request, content, kind, code=code)
    return response


def _failure(request: Request, error: Exception, code: int) -> Response:
    return _respond(request, {"error": str(error)}, "application/json", code)


def _text(request: Request, name: str) -> str:
    value = request.args.get(name)
    if not value:
        raise WrongArguments(f"{request.path.rpartition('/')[2]}: expected the argument {name}=, got none")
    return value


def _number(request: Request, name: str, least: int) -> int:
    text = _text(request, name)
    if not text.isdecimal() or not text.isascii() or int(text[:12]) < least:
        raise WrongArguments(f"{name}: expected a whole number of at least {least}, got {text[:20]!r}")
    return int(text[:12])


def _range(request: Request) -> Range:
    from gradscope.renderers.view_member import WHOLE, Range

    width = min(_number(request, "width", 1), MOST_COLUMNS) if "width" in request.args else WHOLE.width
    first, last = (_number(request, name, 0) if name in request.args else None for name in ("from", "to"))
    return Range(width, first, last)
