"""Which axis runs over units: read from what made the tensor, followed through permutations; and the layout by it."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

from gradscope.unit_axis import laid_out, unit_axis, units_of

BATCH, TIMES, WIDTH = 4, 11, 6


def seq():
    return torch.randn(BATCH, TIMES, WIDTH)


def rows():
    return torch.randn(BATCH, WIDTH)


def linear(x, units=7, **more):
    return nn.Linear(x.shape[-1], units, **more)(x)


def conv(dims, units=5, kind="Conv"):
    x = torch.randn(BATCH, 3, *(8, 9, 4)[:dims])
    return getattr(nn, f"{kind}{dims}d")(3, units, 3, padding=1)(x)


def recurrent(kind, **more):
    return getattr(nn, kind)(WIDTH, 7, **more)(seq())[0]


def gamma():
    return nn.Parameter(torch.ones(5, 1))


MADE = {  # what made z, and its unit axis
    "linear": (lambda: linear(rows()), 1),
    "linear without bias": (lambda: linear(rows(), bias=False), 1),
    "linear over times": (lambda: linear(seq()), 2),
    "linear over times without bias": (lambda: linear(seq(), bias=False), 2),
    "linear over pixels": (lambda: linear(torch.randn(2, 3, 4, 6)), 3),
    "conv1d": (lambda: conv(1), 1),
    "conv2d": (lambda: conv(2), 1),
    "conv3d": (lambda: conv(3), 1),
    "transposed conv1d": (lambda: conv(1, kind="ConvTranspose"), 1),
    "transposed conv2d": (lambda: conv(2, kind="ConvTranspose"), 1),
    "transposed conv3d": (lambda: conv(3, kind="ConvTranspose"), 1),
    "channels-last conv2d": (lambda: conv(2).contiguous(memory_format=torch.channels_last), 1),
    "batch norm of rows": (lambda: nn.BatchNorm1d(WIDTH)(rows()), 1),
    "batch norm of sequences": (lambda: nn.BatchNorm1d(TIMES)(seq()), 1),
    "batch norm of images": (lambda: nn.BatchNorm2d(5)(conv(2)), 1),
    "group norm": (lambda: nn.GroupNorm(1, 5)(conv(1)), 1),
    "instance norm": (lambda: nn.InstanceNorm1d(5, affine=True)(conv(1)), 1),
    "layer norm": (lambda: nn.LayerNorm(WIDTH)(seq()), 2),
    "layer norm of pixels": (lambda: nn.LayerNorm(6)(torch.randn(2, 3, 4, 6)), 3),
    "rms norm": (lambda: nn.RMSNorm(WIDTH)(seq()), 2),
    "embedding": (lambda: nn.Embedding(9, WIDTH)(torch.zeros(BATCH, TIMES, dtype=torch.long)), 2),
    "lstm": (lambda: recurrent("LSTM", batch_first=True), 2),
    "lstm, times first": (lambda: recurrent("LSTM"), 2),
    "lstm, both ways": (lambda: recurrent("LSTM", batch_first=True, bidirectional=True, num_layers=2), 2),
    "lstm's last state": (lambda: recurrent("LSTM", batch_first=True)[:, -1], 1),
    "gru": (lambda: recurrent("GRU", batch_first=True), 2),
    "rnn": (lambda: recurrent("RNN", batch_first=True), 2),
    "population": (lambda: torch.baddbmm(gamma()[:1], seq(), torch.randn(BATCH, WIDTH, 7)), 2),
    "transformer": (lambda: nn.Linear(WIDTH, 24)(nn.LayerNorm(WIDTH)(seq() + linear(seq(), WIDTH))), 2),
    "einsum": (lambda: torch.einsum("bti,oi->bto", seq(), gamma().expand(5, WIDTH)), 2),
    # axes moved
    "permuted conv2d": (lambda: conv(2).permute(0, 2, 3, 1), 3),
    "permuted by negative axes": (lambda: conv(2).permute(0, -2, -1, -3), 3),
    "permuted there and back": (lambda: conv(2).permute(0, 2, 3, 1).permute(0, 3, 1, 2), 1),
    "moved": (lambda: conv(2).movedim(1, -1), 3),
    "transposed conv": (lambda: conv(1).transpose(1, 2), 2),
    "transposed by negative axes": (lambda: conv(1).transpose(-1, -2), 2),
    "transposed by one of each": (lambda: linear(seq()).transpose(-1, 1), 1),
    "mT": (lambda: conv(1).mT, 2),
    "swapped": (lambda: linear(seq()).swapaxes(1, 2), 1),
    "copied after": (lambda: conv(2).permute(0, 2, 3, 1).contiguous(), 3),
    "times first": (lambda: linear(seq()).transpose(0, 1), 2),
    "units first": (lambda: linear(seq()).permute(2, 0, 1), 0),
    "convnext": (lambda: linear(nn.LayerNorm(5)(conv(2).permute(0, 2, 3, 1)), 20), 3),
    "convnext, back": (lambda: linear(conv(2).permute(0, 2, 3, 1), 20).permute(0, 3, 1, 2), 1),
    "patches": (lambda: conv(2).flatten(2).transpose(1, 2), 2),
    "heads": (lambda: linear(seq(), 8).view(BATCH, TIMES, 2, 4).transpose(1, 2), 3),
    # Swin: windows of pixels, each pixel's features last
    "windows": (lambda: linear(conv(2).permute(0, 2, 3, 1).reshape(-1, 6, 5), 10), 2),
    "pixels as rows": (lambda: conv(2).permute(0, 2, 3, 1).reshape(-1, 5), 1),
    "pixels in a row": (lambda: conv(2).permute(0, 2, 3, 1).flatten(1, 2), 2),
    "times as rows": (lambda: conv(1).transpose(1, 2).reshape(-1, 5), 1),
    "features as an image": (lambda: linear(rows(), 5 * 3 * 3).view(BATCH, 5, 3, 3), 1),
    "features unflattened": (lambda: nn.Unflatten(1, (5, 3, 3))(linear(rows(), 5 * 3 * 3)), 1),
    "tokens as an image": (lambda: linear(torch.randn(BATCH, 12, 6)).transpose(1, 2).reshape(BATCH, 7, 3, 4), 1),
    "times split": (lambda: conv(1).view(BATCH, 5, 2, 4), 1),
    "without a batch": (lambda: nn.Conv1d(3, 5, 3)(torch.randn(3, 9)), 0),
    "an image without a batch": (lambda: nn.Conv2d(3, 5, 3)(torch.randn(3, 9, 9)), 0),
    "expanded": (lambda: conv(1).unsqueeze(1).expand(BATCH, 3, 5, 8), 2),
    "stacked": (lambda: torch.stack([conv(1), conv(1)], -1), 1),
    "columns of images": (lambda: conv(2).amax(-1), 1),
    "a column of images": (lambda: conv(2)[..., 0], 1),
    "normalised as a whole": (lambda: nn.LayerNorm([5, 8, 9])(conv(2)), 1),
    "long strips": (lambda: torch.randn(3, 4, 5, requires_grad=True).as_strided((4, 3), (1, 1)), 1),
    # combined
    "residual of images": (lambda: torch.randn(BATCH, 5, 8, 9) + conv(2), 1),
    "residual of sequences": (lambda: conv(1) + conv(1), 1),
    "residual from the input": (lambda: torch.randn(BATCH, 5, 8) + conv(1), 1),
    "scaled from the left": (lambda: gamma() * conv(1), 1),
    "scaled by a gate": (lambda: torch.sigmoid(linear(rows(), 5))[:, :, None] * conv(1), 1),
    "scaled by an unseen gate": (lambda: torch.rand(BATCH, 5, 1, requires_grad=True).exp() * conv(1), 1),
    "scaled from the right": (lambda: conv(1) * gamma(), 1),
    "concatenated": (lambda: torch.cat([conv(1), conv(1)], 1), 1),
    "dropped out": (lambda: F.dropout(conv(1), 0.5), 1),
    "pooled images": (lambda: F.max_pool2d(conv(2), 2), 1),
    "pooled sequences": (lambda: F.max_pool1d(conv(1), 2), 1),
    "averaged sequences": (lambda: F.adaptive_avg_pool1d(conv(1), 2), 1),
    "averaged over pixels": (lambda: conv(2).mean((2, 3)), 1),
    "averaged over times": (lambda: linear(seq()).mean(1), 1),
    "upsampled": (lambda: F.interpolate(conv(1), scale_factor=2), 1),
    "flat": (lambda: conv(2).flatten(1), 1),
    "squeezed to rows": (lambda: linear(torch.randn(BATCH, 1, WIDTH)).squeeze(1), 1),
    "squeezed to a vector": (lambda: linear(rows(), 1).squeeze(-1), 0),
    "a number": (lambda: linear(rows(), 1).mean(), 0),
    # far away: the tensor's form decides
    "long ago": (lambda: chained(conv(1), 20), 2),
}  # fmt: skip


def chained(z, steps):
    for _ in range(steps):
        z = z * 1.5
    return z


@pytest.mark.parametrize("name", MADE)
def test_the_axis_of_units_is_read_from_what_made_the_tensor(name):
    build, axis = MADE[name]
    z = build()
    assert z.grad_fn is not None
    assert unit_axis(z) == axis


@pytest.mark.parametrize(
    ("size", "axis"), [((), 0), ((5,), 0), ((5, 6), 1), ((5, 6, 7), 2), ((5, 6, 7, 8), 1), ((5, 6, 7, 8, 9), 1)]
)
def test_without_a_graph_the_form_decides(size, axis):
    assert unit_axis(torch.randn(size)) == axis
    assert unit_axis(torch.randn(size, requires_grad=True)) == axis
    with torch.no_grad():
        assert unit_axis(torch.randn(size) * 2) == axis


def test_under_autocast_the_axis_is_the_same():
    with torch.autocast("cpu", torch.bfloat16):
        assert unit_axis(linear(seq())) == 2
        assert unit_axis(conv(1)) == 1
        assert unit_axis(conv(1).float()) == 1
        assert unit_axis(conv(2).permute(0, 2, 3, 1).float()) == 3


def per_unit(values, axis):
    """All values of each unit, sorted, [unit, sample]: what no layout may change."""
    return values.movedim(axis, 0).flatten(1).sort(dim=1).values


LAYOUTS = {
    "rows": (torch.randn(5, 3), 1),
    "columns": (torch.randn(3, 5).t(), 1),
    "units first": (torch.randn(3, 5), 0),
    "sequence": (torch.randn(4, 5, 3), 2),
    "sequence of channels": (torch.randn(4, 3, 5), 1),
    "permuted sequence": (torch.randn(4, 3, 5).transpose(1, 2), 2),
    "images": (torch.randn(2, 3, 4, 5), 1),
    "channels-last images": (torch.randn(2, 3, 4, 5).contiguous(memory_format=torch.channels_last), 1),
    "permuted images": (torch.randn(2, 4, 5, 3).permute(0, 3, 1, 2), 1),
    "pixels": (torch.randn(2, 4, 5, 3), 3),
    "odd permutation": (torch.randn(4, 3, 2, 5).permute(2, 1, 3, 0), 1),
    "part of a tensor": (torch.randn(9, 4, 8)[::2, :, 1:4], 2),
    "expanded": (torch.randn(1, 3, 1).expand(4, 3, 5), 1),
    "volumes": (torch.randn(2, 3, 2, 2, 4), 1),
    "one sample": (torch.randn(1, 3), 1),
    "no sample": (torch.randn(0, 3), 1),
    "no pixel": (torch.randn(2, 3, 0, 5), 1),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_layout_keeps_each_units_samples(name):
    values, axis = LAYOUTS[name]
    laid = laid_out(values, axis, has_members=False)
    assert laid.dim() in (2, 4)
    assert units_of(laid) == values.shape[axis]
    assert torch.equal(per_unit(laid, 1 if laid.dim() == 2 else 2), per_unit(values, axis))


@pytest.mark.parametrize("name", ["rows", "sequence", "images", "channels-last images", "permuted images", "pixels", "volumes"])
def test_usual_layouts_are_views(name):
    values, axis = LAYOUTS[name]
    assert laid_out(values, axis, has_members=False).data_ptr() == values.data_ptr()


def test_channels_last_images_are_rows_of_units():
    """Sums over rows are by far the fastest."""
    values, axis = LAYOUTS["channels-last images"]
    assert laid_out(values, axis, has_members=False).shape == (40, 3)
    assert laid_out(LAYOUTS["images"][0], 1, has_members=False).shape == (1, 2, 3, 20)


def test_vectors_and_numbers_are_samples_of_one_unit():
    assert laid_out(torch.randn(6), 0, has_members=False).shape == (6, 1)
    assert laid_out(torch.randn(()), 0, has_members=False).shape == (1, 1)


def test_a_population_has_its_members_first():
    values = torch.randn(3, 5, 4)
    laid = laid_out(values, 2, has_members=True)
    assert torch.equal(laid[..., 0], values)
    assert units_of(laid) == 4
