"""The network of periodic variables: image, folds and numbers, each read by a branch of its own."""

from __future__ import annotations

import torch
from torch import nn

from broker.folds import LEVELS, PHASES
from broker.grids import GRIDS
from broker.inputs import Channel
from models import intensity
from models.calibration import Calibration
from models.network import Network, Rows, Standard

#: What it eats: levels (image, n_dt + 1, 2 n_dm) f4, numbers (image, number) f4, folds
#: (image, fold, PHASES, LEVELS) u1.
Eaten = tuple[torch.Tensor, torch.Tensor, torch.Tensor]

#: Numbers of points at which it is calibrated.
KNOTS = (2, 5, 10, 20, 50, 100, 235)
#: What crts-periodic eats. No mean magnitude and no mean error: they are the survey's, not the
#: star's.
CHANNEL = Channel(
    "fine",
    "total",
    ("detection", "forced"),
    scalars=(
        *("log_n", "log_sd", "log_signal", "skewness", "log_reduced_chi2", "log_range"),
        *("kurtosis", "von_neumann", "log_span", "faint_tail", "bright_tail"),
    ),
    periodogram=True,
    folds=2,
)
TOKEN = 32
DROPOUT = 0.25


class Periodic(Network):
    """Knows a star by its pairs of points and by what it does at its own best frequencies.

    1.5 million multiplications a star. The last step makes the probabilities honest: a factor and a
    shift of the logits per class that depend on the number of points.

    Parameters
    ----------
    channel : Channel
        With a periodogram, and "log_n" among its scalars.
    classes : int
        Number of classes.
    """

    levels = staticmethod(intensity.root_rows)

    def __init__(self, channel: Channel, classes: int) -> None:
        super().__init__()
        n_dm, n_dt = GRIDS[channel.grid].shape
        self.log_n = channel.scalars.index("log_n")
        self.measured = len(channel.scalars)  # where the periodogram begins, with log of its points
        self.standard = Standard((n_dt + 1, 2 * n_dm))
        self.numbers = Standard((channel.numbers,), least=1e-3, most=5.0)
        self.body = _Body(n_dm, n_dt, channel.folds, channel.numbers)
        self.head = nn.Linear(128, classes)
        self.calibration = Calibration(KNOTS, classes)

    def learn(self, eaten: Eaten) -> None:
        """Take mean and deviation of pixels and numbers from some training examples.

        Those of what a periodogram measures are of the examples that have one.
        """
        levels, numbers, _ = eaten
        self.standard.learn(levels)
        self.numbers.learn(numbers)
        measured = Standard((numbers.shape[1],), least=1e-3)
        measured.learn(numbers[numbers[:, self.measured] > 0])
        behind = slice(self.measured + 1, None)
        self.numbers.shift[behind] = measured.shift[behind]
        self.numbers.scale[behind] = measured.scale[behind]

    def hidden(self, eaten: Eaten) -> torch.Tensor:
        """What the last layer eats, (image, 128)."""
        levels, numbers, folds = eaten
        there = (numbers[:, self.measured, None] > 0).to(numbers.dtype)
        x = self.numbers(numbers).clamp(min=-5)
        x = torch.cat([x[:, : self.measured + 1], x[:, self.measured + 1 :] * there], 1)
        dtype = next(self.body.parameters()).dtype
        parts = (self.standard(levels), x, folds.to(torch.float32) * (2 / 255))
        hidden: torch.Tensor = self.body(*(part.to(dtype) for part in parts))
        return hidden.to(self.head.weight.dtype)

    def raw(self, eaten: Eaten) -> torch.Tensor:
        """Logits (image, class) before calibration."""
        logits: torch.Tensor = self.head(self.hidden(eaten))
        return logits

    def logits(self, hidden: torch.Tensor, eaten: Eaten) -> torch.Tensor:
        """Logits (image, class)."""
        logits: torch.Tensor = self.calibration(self.head(hidden), self.log_points(eaten))
        return logits

    def log_points(self, eaten: Eaten) -> torch.Tensor:
        """Logarithm of the number of points (image,)."""
        return eaten[1][:, self.log_n].contiguous()


class _Body(nn.Module):
    def __init__(self, n_dm: int, n_dt: int, folds: int, numbers: int) -> None:
        super().__init__()
        self.image = Rows(n_dt, 2 * n_dm, TOKEN, 8 * TOKEN, 96, DROPOUT)
        self.folds = _Turn(folds, TOKEN, 6 * TOKEN, 96)
        self.numbers = nn.Sequential(
            *(nn.Linear(numbers, 256), nn.ReLU(), nn.Dropout(0.15)),
            *(nn.Linear(256, 256), nn.ReLU(), nn.Dropout(0.15)),
            *(nn.Linear(256, 128), nn.ReLU()),
        )
        self.join = nn.Sequential(
            nn.Dropout(DROPOUT), nn.Linear(96 + 96 + 128, 128), nn.ReLU(), nn.Dropout(DROPOUT)
        )

    def forward(
        self, levels: torch.Tensor, numbers: torch.Tensor, folds: torch.Tensor
    ) -> torch.Tensor:
        parts = [self.image(levels), self.folds(folds), self.numbers(numbers)]
        hidden: torch.Tensor = self.join(torch.cat(parts, 1))
        return hidden


class _Turn(nn.Module):
    """Fold images: each phase with its two neighbours, round and round."""

    def __init__(self, folds: int, token: int, hidden: int, last: int) -> None:
        super().__init__()
        self.token = nn.Linear(3 * folds * LEVELS, token)
        self.place = nn.Parameter(0.02 * torch.randn(PHASES, token))
        self.mix = nn.Linear(3 * token, token)
        self.hidden = nn.Linear(PHASES * token, hidden)
        self.last = nn.Linear(hidden, last)
        self.dropout = nn.Dropout(DROPOUT)

    def forward(self, folds: torch.Tensor) -> torch.Tensor:
        x = folds.transpose(1, 2).flatten(2)  # (image, PHASES, fold * LEVELS)
        tokens = (self.token(beside_each(x)) + self.place).relu()
        tokens = tokens + self.mix(beside_each(tokens)).relu()
        x = self.hidden(self.dropout(tokens.flatten(1))).relu()
        hidden: torch.Tensor = self.last(self.dropout(x)).relu()
        return hidden


def beside_each(rows: torch.Tensor) -> torch.Tensor:
    """Rows (image, row, width) of a circle, each between its neighbours (image, row, 3 width)."""
    return torch.cat([rows.roll(1, 1), rows, rows.roll(-1, 1)], 2)
