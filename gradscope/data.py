"""Where samples come from: a name or an npz file in, tensors that are ready to train on out.

>>> digits = load_data("digits")
>>> tuple(digits.x_train.shape), tuple(digits.y_train.shape), len(digits.x_test), digits.classes, digits.metric
((1437, 1, 8, 8), (1437,), 360, 10, 'accuracy')
>>> tuple(digits.flattened().x_train.shape)
(1437, 64)
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int64
from numpy.typing import NDArray
from torch import Tensor

from gradscope.data_arrays import Arrays, one_line
from gradscope.data_npz import NpzSource, read_npz
from gradscope.data_sources import IMAGE_SETS, read_digits, read_images
from gradscope.data_targets import read_targets
from gradscope.errors import CodeError, DataError
from gradscope.recipe import Recipe
from gradscope.user_code import is_reference, load_reference

__all__ = ["Data", "NpzSource", "load_data", "load_recipe_data"]


@dataclass(frozen=True, eq=False)
class Data:
    """Samples to train on and samples to test on, held whole as tensors on one device.

    `chance` is what the best constant answer scores on the test set; 1.0 if the test set holds one class only, 0.0 for R2.
    """

    name: str
    x_train: Float[Tensor, " train *sample"]  # standardised; images are [train, channel, height, width]
    y_train: Int64[Tensor, " train"] | Float[Tensor, "train output"]
    x_test: Float[Tensor, " test *sample"]
    y_test: Int64[Tensor, " test"] | Float[Tensor, "test output"]
    classes: int  # 0 for regression
    outputs: int  # width of the network's output: classes, or columns of y
    metric: str  # accuracy | r2
    chance: float
    notes: tuple[str, ...] = ()

    def to(self, device: torch.device | str, dtype: torch.dtype = torch.float32) -> Data:
        """Return the same data on `device`, samples and real-valued targets as `dtype`; labels stay int64."""

        def move(tensor: Tensor) -> Tensor:
            return tensor.to(device, dtype if tensor.is_floating_point() else None)

        return replace(
            self, x_train=move(self.x_train), y_train=move(self.y_train), x_test=move(self.x_test), y_test=move(self.y_test)
        )

    def flattened(self) -> Data:
        """Return the same data with samples of any shape laid out as [sample, feature], row by row (channel first)."""
        return replace(self, x_train=self.x_train.flatten(1), x_test=self.x_test.flatten(1))

    def per_feature(self) -> Data:
        """Return the same data with each feature less its mean over its standard deviation, both of the training set.

        Computed in float64 on the host, so that the result does not depend on the device or on the samples' shape. A feature
        that is the same in all training samples is centred, not scaled.
        """
        train = self.x_train.flatten(1).cpu().double()
        mean, std = train.mean(dim=0), train.std(dim=0, correction=0)
        std = torch.where(train.amin(dim=0) < train.amax(dim=0), std, 1.0)

        def standardised(x: Tensor) -> Tensor:
            return ((x.flatten(1).cpu().double() - mean) / std).view(x.shape).to(x.device, x.dtype)

        return replace(self, x_train=standardised(self.x_train), x_test=standardised(self.x_test))


def load_data(
    source: str | NpzSource,
    *,
    data_dir: Path | None = None,
    download: bool = False,
    allow_code: bool = False,
    normalize: tuple[float, float] | str | None = None,
    where: str = "",
) -> Data:
    """Read samples and make them ready: float32, standardised, on the CPU. No random stream is touched.

    Args:
        source: digits | mnist | fashion-mnist | cifar10 | package.module:callable, or an npz file. The callable takes no
            arguments and returns (x_train, y_train, x_test, y_test) as arrays or tensors, or a `Data`, used as it stands.
        data_dir: where mnist, fashion-mnist and cifar10 lie; else the environment's GRADSCOPE_DATA, else ./data.
        download: let torchvision download what is not there.
        allow_code: whether the callable may be run.
        normalize: mean and standard deviation to use instead of the published constants or the training set's own; on the
            scale 0..1 for mnist, fashion-mnist and cifar10, of the raw values for all others; per-feature for those of each
            feature of the training set.
        where: what messages begin with, such as the recipe's file and line.

    Raises:
        DataError: the samples are absent, unreadable or unfit; one line that says what to do.
        CodeError: the callable may not be run, is not there, or fails.
    """
    if isinstance(normalize, str):
        common = {"data_dir": data_dir, "download": download, "allow_code": allow_code, "where": where}
        return load_data(source, **common).per_feature()  # type: ignore[arg-type]
    try:
        if isinstance(source, NpzSource):
            return _assemble(source.path.stem, read_npz(source), normalize)
        if source == "digits":
            return _assemble(source, read_digits(), normalize)
        if source in IMAGE_SETS:
            return _assemble(source, read_images(source, data_dir, download=download), normalize)
        if is_reference(source):
            return _from_code(source, load_reference(source, allowed=allow_code), normalize)
        raise DataError(_unknown(source))
    except (DataError, CodeError) as error:
        if not where:
            raise
        raise type(error)(f"{where}: {error}") from error


def load_recipe_data(recipe: Recipe, *, data_dir: Path | None = None, download: bool = False, allow_code: bool = False) -> Data:
    """Read the samples that a recipe names; the arguments and errors are those of `load_data`."""
    source: str | NpzSource
    if isinstance(recipe.data, str):
        source = recipe.data
    else:
        path = recipe.data_path
        assert path is not None
        source = NpzSource(path, recipe.data.train, recipe.data.test, recipe.data.seed)
    return load_data(
        source,
        data_dir=data_dir,
        download=download,
        allow_code=allow_code,
        normalize=recipe.normalize,
        where=recipe.where("data"),
    )


def _assemble(name: str, arrays: Arrays, normalize: tuple[float, float] | None) -> Data:
    arrays = arrays.check()
    targets = read_targets(arrays)
    x_train, x_test, notes = arrays.standardised(normalize)
    return Data(
        name=name,
        x_train=torch.from_numpy(x_train),
        y_train=torch.from_numpy(targets.y_train),
        x_test=torch.from_numpy(x_test),
        y_test=torch.from_numpy(targets.y_test),
        classes=targets.classes,
        outputs=targets.outputs,
        metric=targets.metric,
        chance=targets.chance,
        notes=notes + targets.notes,
    )


def _from_code(reference: str, function: object, normalize: tuple[float, float] | None) -> Data:
    if not callable(function):
        raise CodeError(f"'{reference}' is no function: expected one without arguments, got {type(function).__name__}")
    try:
        found = function()
    except Exception as error:  # whatever the user's code raises
        raise CodeError(f"'{reference}' failed: {type(error).__name__}: {one_line(error)}") from error
    if isinstance(found, Data):
        return _checked(reference, found, normalize)
    if not isinstance(found, tuple | list) or len(found) != 4:
        got = f"{len(found)} values" if isinstance(found, tuple | list) else type(found).__name__
        raise DataError(f"{reference}: expected (x_train, y_train, x_test, y_test) or a gradscope.data.Data, got {got}")
    return _assemble(reference, _as_arrays(reference, *found), normalize)


def _as_arrays(reference: str, x_train: object, y_train: object, x_test: object, y_test: object) -> Arrays:
    return Arrays(
        reference,
        _as_array(f"{reference}: x_train", x_train),
        _as_array(f"{reference}: y_train", y_train),
        _as_array(f"{reference}: x_test", x_test),
        _as_array(f"{reference}: y_test", y_test),
    )


def _as_array(what: str, value: object) -> NDArray[Any]:
    try:
        if isinstance(value, Tensor):
            value = value.detach().cpu()
            narrow = value.is_floating_point() and value.dtype != torch.float64
            return (value.float() if narrow else value).numpy()  # numpy knows no bfloat16
        return np.asarray(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise DataError(f"{what}: expected an array or a tensor: {one_line(error)}") from error


def _checked(reference: str, data: Data, normalize: tuple[float, float] | None) -> Data:
    """Return the user's own `Data`, its tensors checked like all others; its name, metric and chance are the user's."""
    arrays = _as_arrays(reference, data.x_train, data.y_train, data.x_test, data.y_test)
    own = _assemble(reference, arrays, normalize or (0.0, 1.0))
    if data.outputs < own.outputs:
        raise DataError(f"{reference}: expected at least {own.outputs} outputs, as the targets need, got {data.outputs}")
    return replace(
        own,
        name=data.name,
        classes=data.classes,
        outputs=data.outputs,
        metric=data.metric,
        chance=data.chance,
        notes=data.notes + own.notes,
    )


def _unknown(source: str) -> str:
    known = ("digits", *IMAGE_SETS)
    if source.endswith(".npz"):
        return f"data: '{source}' is a file: in a recipe write {{source: npz, path: {source}}}"
    near = difflib.get_close_matches(source.lower(), known, n=1)
    hint = f"; did you mean '{near[0]}'?" if near else ""
    return f"data: expected {', '.join(known)}, an npz source or package.module:callable, got '{source}'{hint}"
