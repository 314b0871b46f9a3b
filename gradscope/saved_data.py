"""What gradscope writes as JSON and reads again: the base of its models, and the check of a file's content against one."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from gradscope.errors import TraceError


class SavedPart(BaseModel):
    """A part of a file: keys of a newer gradscope are left out, numbers that are not finite stand as null."""

    model_config = ConfigDict(frozen=True, extra="ignore", ser_json_inf_nan="null", populate_by_name=True)


Part = TypeVar("Part", bound=SavedPart)


def read_part(model: type[Part], data: object, file: Path, *, schema: int, newest: int) -> Part:
    """Return the content of a file as the model that it was written from.

    Args:
        model: what it should be.
        data: the file's content.
        file: named in messages.
        schema: the one that the file names.
        newest: the newest one that this gradscope reads.

    Raises:
        TraceError: it is of a newer schema, damaged or was edited.
    """
    if schema > newest:
        raise TraceError(f"{file}: written with schema {schema}, this gradscope reads up to {newest}; update gradscope")
    try:
        return model.model_validate(data)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(map(str, first["loc"]))
        raise TraceError(f"{file}: {key}: {first['msg']}; the file is damaged or was edited") from error
