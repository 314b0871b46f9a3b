"""The folder that a run is written to."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from datetime import UTC, datetime
from pathlib import Path

from gradscope.errors import WriteError


def make_run_folder(parent: Path, recipe_name: str) -> Path:
    """Create and return `parent/<recipe>/<UTC time>-<short id>`.

    Raises:
        WriteError: it cannot be created.
    """
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    folder = parent / recipe_name / f"{stamp}-{secrets.token_hex(3)}"
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        raise WriteError(f"{folder}: cannot be created: {error.strerror}; name another folder with --out") from error
    return folder


def discard(folder: Path) -> None:
    """Remove the folder of a run that recorded nothing, and the recipe's folder if it is empty then."""
    if any((folder / "trace").glob("*.npz")):
        return
    shutil.rmtree(folder, ignore_errors=True)
    with contextlib.suppress(OSError):  # it holds other runs
        folder.parent.rmdir()


def write_text(path: Path, text: str) -> None:
    """Write a small text file, replacing an older one in one step; a device or pipe is written to, not replaced.

    Raises:
        WriteError: it cannot be written.
    """
    path = path.resolve() if path.is_symlink() else path
    part = path.with_name(path.name + ".part")
    try:
        if path.exists() and not path.is_file():
            path.write_text(text, encoding="utf-8")
            return
        try:
            part.write_text(text, encoding="utf-8")
            os.replace(part, path)
        except OSError:
            part.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise WriteError(
            f"{path}: cannot be written: {error.strerror}; free some space or name another folder with --out"
        ) from error
