"""Models as people train them, small enough for one thread, each with its data and what gradscope.watch must see of it."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.convnext import CNBlockConfig
from torchvision.models.vgg import make_layers

CLASSES, SAMPLES, VOCABULARY, TIMES = 10, 192, 32, 12

Optimizers = Callable[[nn.Module], torch.optim.Optimizer]


@dataclass(frozen=True)
class WatchedModel:
    """A model with its data. `sites` are patterns of the names in forward order, `gaps` the paths of what cannot be seen."""

    build: Callable[[], nn.Module]
    data: Callable[[], tuple[Tensor, Tensor]]
    optimizer: Optimizers
    sites: tuple[str, ...]
    gaps: tuple[str, ...] = ()
    is_large: bool = False  # a step takes more than some 10 ms

    def loss(self, output: Tensor, y: Tensor) -> Tensor:
        return F.cross_entropy(output.flatten(0, -2), y.flatten())


def sgd(lr: float) -> Optimizers:
    return lambda model: torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9, weight_decay=1e-4)


def adamw(lr: float) -> Optimizers:
    return lambda model: torch.optim.AdamW(model.parameters(), lr=lr)


def _classes(*shape: int) -> tuple[Tensor, Tensor]:
    """One pattern a class, under noise."""
    draw = torch.Generator().manual_seed(7)
    patterns, y = torch.randn(CLASSES, *shape, generator=draw), torch.randint(CLASSES, (SAMPLES,), generator=draw)
    return patterns[y] + 0.5 * torch.randn(SAMPLES, *shape, generator=draw), y


def vectors() -> tuple[Tensor, Tensor]:
    return _classes(20)


def sequences() -> tuple[Tensor, Tensor]:
    return _classes(TIMES, 8)


def images(size: int) -> Callable[[], tuple[Tensor, Tensor]]:
    """Coarse patterns, as photographs hold more of low frequencies."""

    def draw() -> tuple[Tensor, Tensor]:
        coarse, y = _classes(3, 8, 8)
        return F.interpolate(coarse, size=(size, size), mode="bilinear"), y

    return draw


def texts() -> tuple[Tensor, Tensor]:
    """Every token follows from the one before, but for one in ten."""
    draw = torch.Generator().manual_seed(7)
    tokens = torch.randint(VOCABULARY, (SAMPLES, TIMES + 1), generator=draw)
    surprising = torch.rand(SAMPLES, TIMES + 1, generator=draw) < 0.1
    for time in range(1, TIMES + 1):
        follows = (5 * tokens[:, time - 1] + 3) % VOCABULARY
        tokens[:, time] = torch.where(surprising[:, time], tokens[:, time], follows)
    return tokens[:, :-1].clone(), tokens[:, 1:].clone()


def mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, 24), nn.ReLU(), nn.Linear(24, CLASSES))


def alexnet() -> nn.Module:
    """torchvision's; its two wide linear layers are cut from 4096 units to 64."""
    with torch.device("meta"):
        model = torchvision.models.alexnet(num_classes=CLASSES)
    for layer in model.features:
        if isinstance(layer, nn.Conv2d):
            layer.to_empty(device="cpu").reset_parameters()
    for place, (inputs, outputs) in {1: (256 * 36, 64), 4: (64, 64), 6: (64, CLASSES)}.items():
        model.classifier[place] = nn.Linear(inputs, outputs)
    return model


def vgg11() -> nn.Module:
    """torchvision's with an eighth of the channels and linear layers of 64 units, so those keep torch's own initialisation."""
    with torch.device("meta"):
        model = torchvision.models.VGG(nn.Sequential(), num_classes=CLASSES, init_weights=False)
    model.features = make_layers([8, "M", 16, "M", 32, 32, "M", 64, 64, "M", 64, 64, "M"])
    for layer in model.features:
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
            nn.init.zeros_(layer.bias)
    for place, (inputs, outputs) in {0: (64 * 49, 64), 3: (64, 64), 6: (64, CLASSES)}.items():
        model.classifier[place] = nn.Linear(inputs, outputs)
    return model


def resnet18() -> nn.Module:
    return torchvision.models.resnet18(num_classes=CLASSES)


def mobilenet_v3_small() -> nn.Module:
    return torchvision.models.mobilenet_v3_small(num_classes=CLASSES)


def vit() -> nn.Module:
    """torchvision's class of vit_b_16 with 2 layers of 64 units instead of 12 of 768."""
    model = torchvision.models.VisionTransformer(
        image_size=32, patch_size=8, num_layers=2, num_heads=4, hidden_dim=64, mlp_dim=128, dropout=0.1, num_classes=CLASSES
    )
    nn.init.trunc_normal_(model.heads.head.weight, std=0.02)  # torchvision's zeros are meant for fine-tuning
    return model


def convnext_tiny() -> nn.Module:
    """torchvision's class of convnext_tiny with a quarter of the channels and half of the blocks."""
    settings = [CNBlockConfig(24, 48, 2), CNBlockConfig(48, 96, 2), CNBlockConfig(96, 192, 4), CNBlockConfig(192, None, 2)]
    return torchvision.models.ConvNeXt(settings, stochastic_depth_prob=0.1, num_classes=CLASSES)


class LstmClassifier(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(8, 24, num_layers=2, dropout=0.2, batch_first=True)
        self.hidden, self.act, self.last = nn.Linear(24, 16), nn.Tanh(), nn.Linear(16, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        states, _ = self.lstm(x)
        return self.last(self.act(self.hidden(states[:, -1])))


class Norm(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        return self.scale * x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-6)


class Attention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.into, self.gate, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        batch, times, width = x.shape
        query, key, value = self.into(x).view(batch, times, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        dropout = 0.1 if self.training else 0.0
        mixed = F.scaled_dot_product_attention(query, key, value, dropout_p=dropout, is_causal=True)
        mixed = mixed.transpose(1, 2).reshape(batch, times, width)
        return self.out(mixed * self.gate(x).sigmoid())


class Mlp(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        return F.dropout(self.down(F.gelu(self.up(x))), 0.1, self.training)


class Block(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.before_attention, self.attention = Norm(width), Attention(width, heads)
        self.before_mlp, self.mlp = Norm(width), Mlp(width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.before_attention(x))
        return x + self.mlp(self.before_mlp(x))


class Gpt(nn.Module):
    """A decoder without a single activation module; its head shares the embedding's weights."""

    def __init__(self, width: int = 32, heads: int = 4, layers: int = 2, cap: float = 15.0) -> None:
        super().__init__()
        self.tokens, self.places = nn.Embedding(VOCABULARY, width), nn.Embedding(TIMES, width)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(layers))
        self.norm, self.cap = Norm(width), cap
        self.head = nn.Linear(width, VOCABULARY, bias=False)
        self.head.weight = self.tokens.weight
        self.apply(self._initialise)

    @staticmethod
    def _initialise(module: nn.Module) -> None:
        if isinstance(module, nn.Linear | nn.Embedding):
            nn.init.normal_(module.weight, std=0.1)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.tokens(tokens) + self.places(torch.arange(tokens.shape[1]))
        for block in self.blocks:
            x = block(x)
        return self.cap * torch.tanh(self.head(self.norm(x)) / self.cap)


def _called(*names: str) -> tuple[str, ...]:
    return tuple(f"{name}@watched_models.py:*" for name in names)


def _mobilenet_sites() -> tuple[str, ...]:
    """Blocks of three parts: channels made more (not in the first), filtered, weighed (not in the next two)."""
    names = ["features.0.2.hardswish"]
    for place in range(1, 12):
        kind, parts = "relu" if place <= 3 else "hardswish", 1 if place == 1 else 2
        names += [f"features.{place}.block.{part}.2.{kind}" for part in range(parts)]
        if place not in (2, 3):
            squeeze = f"features.{place}.block.{parts}"
            names += [f"{squeeze}.activation.relu", f"{squeeze}.scale_activation.hardsigmoid"]
    return (*names, "features.12.2.hardswish", "classifier.1.hardswish")


MODELS = {
    "mlp": WatchedModel(mlp, vectors, sgd(0.05), ("1.relu", "3.relu")),
    "alexnet": WatchedModel(
        alexnet,
        images(64),
        adamw(1e-3),
        (*(f"features.{i}.relu" for i in (1, 4, 7, 9, 11)), "classifier.2.relu", "classifier.5.relu"),
        is_large=True,
    ),
    "vgg11": WatchedModel(
        vgg11,
        images(32),
        adamw(1e-3),
        (*(f"features.{i}.relu" for i in (1, 4, 7, 9, 12, 14, 17, 19)), "classifier.1.relu", "classifier.4.relu"),
        is_large=True,
    ),
    "resnet18": WatchedModel(
        resnet18,
        images(32),
        sgd(0.01),
        ("relu", *(f"layer{i}.{j}.relu{call}" for i in (1, 2, 3, 4) for j in (0, 1) for call in ("", "#2"))),
        is_large=True,
    ),
    "mobilenet_v3_small": WatchedModel(mobilenet_v3_small, images(32), sgd(0.01), _mobilenet_sites(), is_large=True),
    "vit": WatchedModel(
        vit,
        images(32),
        adamw(1e-3),
        tuple(f"encoder.layers.encoder_layer_{i}.mlp.1.gelu" for i in (0, 1)),
        gaps=tuple(f"encoder.layers.encoder_layer_{i}.self_attention" for i in (0, 1)),
    ),
    "convnext_tiny": WatchedModel(
        convnext_tiny,
        images(32),
        adamw(1e-3),
        tuple(f"features.{i}.{j}.block.4.gelu" for i, blocks in ((1, 2), (3, 2), (5, 4), (7, 2)) for j in range(blocks)),
        is_large=True,
    ),
    "lstm": WatchedModel(LstmClassifier, sequences, adamw(1e-2), ("act.tanh",), gaps=("lstm",)),
    "gpt": WatchedModel(
        Gpt,
        texts,
        adamw(3e-3),
        _called("blocks.0.attention.sigmoid", "blocks.0.mlp.gelu", "blocks.1.attention.sigmoid", "blocks.1.mlp.gelu", "tanh"),
        gaps=("blocks.0.attention", "blocks.1.attention"),
    ),
}
