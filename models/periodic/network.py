"""The network of periodic variables: image, folds and numbers, each read by a branch of its own."""

from __future__ import annotations

import torch
from torch import nn

from broker.cadence import SURVEYS
from broker.folds import LEVELS, PHASES
from broker.grids import GRIDS
from broker.inputs import Channel
from models import intensity
from models.calibration import Calibration
from models.fusion import CRTS
from models.network import Network, Standard
from models.periodic.last_layer import LastLayer
from models.population import Population

#: What it eats: levels (image, n_dt + 1, 2 n_dm) f4, numbers (image, number) f4, folds
#: (image, fold, PHASES, LEVELS) u1.
Eaten = tuple[torch.Tensor, torch.Tensor, torch.Tensor]

#: Numbers of points at which it is calibrated.
KNOTS = (2, 5, 10, 20, 50, 100, 235)
#: Numbers of points at which a survey has a last layer of its own: the closer the more a point
#: changes (of layers for 2 and 5 alone, 3 points made a worse one than none); from 16 on there is a
#: periodogram.
LAYERS = (2, 3, 4, 5, 7, 10, 15, 16, 20, 30, 50, 100, 235)
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
    shift of the logits per class that depend on the number of points. Where it is known whose light
    curve it is, a last layer of that survey says what those of all surveys together cannot; of
    Catalina's stars it counts too where in the Galaxy they stand.

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
        self.standard = Standard((n_dt, 2 * n_dm))
        self.numbers = Standard((channel.numbers,), least=1e-3, most=5.0)
        self.body = _Body(n_dm, n_dt, channel.folds, channel.numbers)
        self.head = nn.Linear(128, classes)
        self.calibration = Calibration(KNOTS, classes)
        surveys = (CRTS, *SURVEYS)
        # None for surveys whose light curves are only known as made alike: it would learn how.
        self.by_survey = nn.ModuleDict({CRTS: LastLayer(LAYERS, 128, classes)})
        # Nor does a place say the same to a survey whose stars are nearer, or farther.
        self.fused = nn.ModuleDict({s: Calibration(KNOTS, classes, s == CRTS) for s in surveys})
        self.population = Population(classes)

    def learn(self, eaten: Eaten) -> None:
        """Take mean and deviation of pixels and numbers from some training examples.

        Those of what a periodogram measures are of the examples that have one.
        """
        levels, numbers, _ = eaten
        self.standard.learn(levels[:, :-1])
        self.numbers.learn(numbers)
        measured = Standard((numbers.shape[1],), least=1e-3)
        measured.learn(numbers[numbers[:, self.measured] > 0])
        behind = slice(self.measured + 1, None)
        self.numbers.shift[behind] = measured.shift[behind]
        self.numbers.scale[behind] = measured.scale[behind]

    def hidden(self, eaten: Eaten) -> torch.Tensor:
        """What the last layer eats, (image, 128)."""
        levels, numbers, folds = eaten  # the last row of levels is empty
        there = (numbers[:, self.measured, None] > 0).to(numbers.dtype)
        x = self.numbers(numbers).clamp(min=-5)
        x = torch.cat([x[:, : self.measured + 1], x[:, self.measured + 1 :] * there], 1)
        dtype = next(self.body.parameters()).dtype
        parts = (self.standard(levels[:, :-1]), x, folds.to(torch.float32) * (2 / 255))
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

    def logits_of(self, survey: str, hidden: torch.Tensor, eaten: Eaten) -> torch.Tensor:
        """Logits (image, class) of one of `by_survey`, before calibration."""
        own = self.by_survey[survey](hidden, self.log_points(eaten))
        logits: torch.Tensor = self.head(hidden) + own
        return logits

    def log_points(self, eaten: Eaten) -> torch.Tensor:
        """Logarithm of the number of points (image,)."""
        return eaten[1][:, self.log_n].contiguous()


class _Body(nn.Module):
    def __init__(self, n_dm: int, n_dt: int, folds: int, numbers: int) -> None:
        super().__init__()
        self.image = _Tokens(n_dt, 2 * n_dm, 8 * TOKEN, 96, circle=False)
        self.folds = _Tokens(PHASES, folds * LEVELS, 6 * TOKEN, 96, circle=True)
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
        phases = folds.transpose(1, 2).flatten(2)  # (image, PHASES, fold * LEVELS)
        parts = [self.image(levels), self.folds(phases), self.numbers(numbers)]
        hidden: torch.Tensor = self.join(torch.cat(parts, 1))
        return hidden


class _Tokens(nn.Module):
    """Rows of equal time difference, or phases, each a token made of itself and its neighbours.

    Parameters
    ----------
    rows, width : int
        Of what it reads, (image, rows, width).
    hidden, last : int
        Widths of the layers that read all tokens of an image.
    circle : bool
        Whether the first and the last are neighbours.
    """

    def __init__(self, rows: int, width: int, hidden: int, last: int, circle: bool) -> None:
        super().__init__()
        self.circle = circle
        self.token = _beside(width)
        self.place = nn.Parameter(0.02 * torch.randn(rows, TOKEN))
        self.mix = _beside(TOKEN)
        self.mix_bias = nn.Parameter(torch.zeros(TOKEN))
        self.hidden = nn.Linear(rows * TOKEN, hidden)
        self.last = nn.Linear(hidden, last)
        self.dropout = nn.Dropout(DROPOUT)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        tokens = self.along(rows, self.token, self.place).relu_()
        tokens = tokens + self.along(tokens, self.mix, self.mix_bias).relu_()
        x = self.hidden(self.dropout(tokens.flatten(1))).relu_()
        hidden: torch.Tensor = self.dropout(self.last(self.dropout(x)).relu_())
        return hidden

    def along(self, rows: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        """One product for a row and both its neighbours: three are slower in bf16, and rows
        written out three times beside each other in both precisions.
        """
        product = (rows.flatten(0, 1) @ weight).view(len(rows), -1, 3, TOKEN)
        before, own, after = product.unbind(2)
        result: torch.Tensor = own + bias
        result[:, 1:] += before[:, :-1]
        result[:, :-1] += after[:, 1:]
        if self.circle:
            result[:, 0] += before[:, -1]
            result[:, -1] += after[:, 0]
        return result


def _beside(width: int) -> nn.Parameter:
    """Weights (width, 3 TOKEN): what a row means to the next, to itself and to the one before."""
    limit = (3 * width) ** -0.5  # as PyTorch's own convolutions begin
    return nn.Parameter(torch.empty(width, 3 * TOKEN).uniform_(-limit, limit))
