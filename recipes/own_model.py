"""A model of one's own for `own_model.yaml`: a small convolutional network with its activations called as functions."""

import torch
from torch import nn
from torch.nn import functional


class DigitsNet(nn.Module):
    """Ends in relu(linear(sigmoid(...))): the published failure, in a network that no recipe's `stack:` describes."""

    def __init__(self) -> None:
        super().__init__()
        self.edges = nn.Conv2d(1, 16, kernel_size=3)
        self.strokes = nn.Conv2d(16, 32, kernel_size=3)
        self.hidden = nn.Linear(32 * 4 * 4, 64)
        self.logits = nn.Linear(64, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the logits, [batch, 10], of images, [batch, 1, 8, 8]."""
        x = functional.relu(self.edges(x))
        x = functional.relu(self.strokes(x)).flatten(1)
        x = torch.sigmoid(self.hidden(x))
        return functional.relu(self.logits(x))
