"""A trained network ready on one device, in the precision that was asked for."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load
from torch.nn import functional

from broker.beside import Beside
from broker.folds import LEVELS, PHASES
from broker.grids import GRIDS
from broker.inputs import Channel
from models import cards, fusion, network, unseen
from models.cards import Card
from models.fusion import PLACES, Fusion
from models.periodic.network import Periodic
from models.population import Population
from models.transients import network as transient
from models.transients.streamed import Streamed
from models.unseen import Typical

#: fp32 unless a setting says otherwise, and not what is fastest here and now: another worker, or a
#: replay on another machine, would give other bits.
Precision = Literal["fp32", "bf16"]

#: Logarithms of probabilities see none below this.
LEAST_P = np.float32(1e-30)

Eaten = torch.Tensor | tuple[torch.Tensor, ...]
Mode = Callable[[Eaten], torch.Tensor]


@dataclass(frozen=True, slots=True)
class Forward:
    """Counts in, log probabilities out, and how unlike all that training saw an object is.

    Attributes
    ----------
    device : str
        "cpu", "cuda" or "cuda:N".
    precision : str
        "fp32" or "bf16".
    fusion : Fusion
        What makes one answer of those for an object's bands.
    survey : str
        Of `models.fusion.PLACES`: whose light curves it is asked of from files; "" in the stream,
        where each alert tells it.
    """

    device: str
    precision: str
    channel: Channel
    levels: Callable[[torch.Tensor, torch.Tensor, tuple[int, int]], torch.Tensor]
    typical: Typical | None
    fusion: Fusion
    survey: str
    run: Mode

    def __call__(
        self,
        counts: NDArray[np.int32],
        n: NDArray[np.int32],
        beside: Beside | None = None,
        sky: NDArray[np.float64] | None = None,
    ) -> NDArray[np.float32]:
        """Log probabilities (row, class) f4 of counts (row, cell) with n (row,) measurements.

        Of a network that eats all bands of an object at once, counts are (row, band * cell).

        `beside` is what the channel has beside its images, if it has. Where the survey is known
        each row is its object's only band, and `sky` (row, 2) f8 may tell its right ascension and
        declination in degrees.

        Raises
        ------
        RuntimeError
            The device failed.
        """
        log_p = self.whole(counts, n, beside)[:, :-1]
        if not self.survey:
            return log_p
        place = np.full(len(n), PLACES.index(self.survey), np.uint8)
        found = self.fusion(np.ascontiguousarray(log_p), n, np.arange(len(n) + 1), place, sky)
        return np.log(np.maximum(found, LEAST_P))

    def whole(
        self,
        counts: NDArray[np.int32],
        n: NDArray[np.int32],
        beside: Beside | None = None,
    ) -> NDArray[np.float32]:
        """What is to be fused, and in one column more (row, class + 1) the share of known objects
        that are less unlike the others; NaN where that was not learned.
        """
        with torch.inference_mode():
            # Counts cross to the device once; all else is computed there.
            points = torch.from_numpy(n).to(self.device)
            on_device = torch.from_numpy(counts).to(self.device)
            eaten = _eaten(self.levels, self.channel, on_device, points, beside)
            found: NDArray[np.float32] = self.run(eaten).cpu().numpy()
        if self.typical is not None:
            found[:, -1] = self.typical.share(found[:, -1], n)
        return found


def load_network(card: Card) -> network.Network:
    """The card's network with its trained weights, on the CPU.

    Raises
    ------
    ValueError
        The weights are not those that the card was written for.
    """
    if card.network == "transient":
        return Streamed(transient.read(card))
    shape, classes = GRIDS[card.channel.grid].shape, len(card.classes)
    net = (
        Periodic(card.channel, classes)
        if card.network == "periodic"
        else network.build(card.network, shape, classes)
    )
    net.load_state_dict(load(cards.weights(card)))
    net.typical = unseen.read(card)
    net.eval().requires_grad_(False)
    return net


def last_layer(
    net: network.Network,
    channel: Channel,
    counts: NDArray[np.int32],
    n: NDArray[np.int32],
    beside: Beside | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """What the last layer of a network on the CPU eats, (row, feature), and the logits (row, class)
    that come of it; asked as `Forward` is.
    """
    with torch.inference_mode():
        points = torch.from_numpy(n)
        eaten = _eaten(net.levels, channel, torch.from_numpy(counts), points, beside)
        hidden = net.hidden(eaten)
        return hidden, net.logits(hidden, eaten)


def choose_device(wanted: str) -> str:
    """`wanted`, or for "auto" a CUDA device where there is one.

    Raises
    ------
    ValueError
        A CUDA device was asked for that is not there, or something else was.
    """
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", wanted):
        msg = f"device {wanted!r}: expected auto, cpu, cuda or cuda:N"
        raise ValueError(msg)
    there = torch.cuda.device_count() if wanted != "cpu" else 0
    number = int(wanted.partition(":")[2] or 0)
    if wanted.startswith("cuda") and number >= there:
        msg = f"device {wanted}: PyTorch finds {there} CUDA devices here; use auto or cpu"
        raise ValueError(msg)
    return wanted if wanted != "auto" else "cuda" if there else "cpu"


def prepare(
    card: Card,
    device: str = "auto",
    shapes: Iterable[int] = (16, 64, 256),
    precision: Precision = "fp32",
    survey: str = "",
) -> Forward:
    """Load the network; every shape has been run once afterwards.

    Parameters
    ----------
    card : Card
    device : str
        "auto", "cpu", "cuda" or "cuda:N".
    shapes : iterable of int
        Rows of the device batches to come.
    precision : {"fp32", "bf16"}
        In bf16 probabilities differ by up to 0.01 and names by one in a thousand. CPUs with AMX are
        up to twice as fast with it, others slower (`nightjar bench network`).
    survey : str
        Whose light curves it will be asked of, see `Forward`.
    """
    net, on = load_network(card), choose_device(device)
    return ready(net, card.channel, on, shapes, precision, survey)


def ready(
    net: network.Network,
    channel: Channel,
    device: str,
    shapes: Iterable[int] = (256,),
    precision: Precision = "fp32",
    survey: str = "",
) -> Forward:
    """A network that eats a channel on "cpu", "cuda" or "cuda:N"; otherwise as `prepare`."""
    shapes = sorted(shapes)
    grid = GRIDS[channel.grid].shape
    torch.backends.cudnn.allow_tf32 = False  # fp32 says what it is
    torch.backends.cudnn.deterministic = True
    # What comes after the network is computed by the CPU: these stay there.
    fused = fusion.of(net.fused, net.population or Population(net.head.out_features))
    typical = copy.deepcopy(net.typical)
    run = mode(net, device, torch.float32 if precision == "fp32" else torch.bfloat16, survey)
    with torch.inference_mode():
        images = max(1, len(channel.bands))
        counts, n = (torch.from_numpy(a).to(device) for a in _probe(shapes[-1], grid, images))
        eaten = _with_beside(net.levels(counts, n, grid), channel)
        for rows in shapes:
            run(_rows(eaten, rows))
    return Forward(device, precision, channel, net.levels, typical, fused, survey, run)


def mode(net: network.Network, device: str, dtype: torch.dtype, survey: str = "") -> Mode:
    """What it eats in; log probabilities out, by the survey's own last layer where it has one, and
    behind them what `unseen.Typical` ranks.

    All but that and the last layer is computed in `dtype`.
    """
    net.to(device)
    net.body.to(dtype)

    strangeness = None if net.typical is None else net.typical.strangeness()

    def run(eaten: Eaten) -> torch.Tensor:
        hidden = net.hidden(eaten)
        logits = net.logits(hidden, eaten)
        log_p = torch.log_softmax(logits, dim=1)
        total = logits[:, 0] - log_p[:, 0]
        if survey in net.by_survey:
            log_p = torch.log_softmax(net.logits_of(survey, hidden, eaten), dim=1)
        if strangeness is None:
            return functional.pad(log_p, (0, 1), value=torch.nan)
        return torch.cat([log_p, strangeness(hidden, total)[:, None]], 1)

    return run


def compiled(plain: Mode) -> Mode:
    """The same through torch.compile."""
    import torch._inductor.config as inductor

    inductor.freezing = True  # weights are constants: without it compiling gains nothing
    return torch.compile(plain, dynamic=False)


def _eaten(
    levels: Callable[[torch.Tensor, torch.Tensor, tuple[int, int]], torch.Tensor],
    channel: Channel,
    counts: torch.Tensor,
    n: torch.Tensor,
    beside: Beside | None,
) -> Eaten:
    images = levels(counts, n, GRIDS[channel.grid].shape)
    if beside is None:
        return images
    return images, *(torch.from_numpy(part).to(counts.device) for part in beside)


def _probe(
    rows: int, grid: tuple[int, int], images: int
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Counts (row, image * cell) and n (row,) of curves of 5 to 300 points, some cells with most
    pairs.
    """
    draw = np.random.default_rng(0)
    n = np.linspace(5, 300, rows).astype(np.int32)
    share = draw.dirichlet(np.full(images * grid[0] * grid[1], 0.1), rows)
    return draw.multinomial(n * (n - 1) // 2, share).astype(np.int32), n


def _with_beside(levels: torch.Tensor, channel: Channel) -> Eaten:
    """Numbers and folds beside levels, where the channel has some."""
    width = channel.numbers + channel.together
    if not width:
        return levels
    draw = torch.Generator().manual_seed(0)
    rows = len(levels)
    numbers = 1 + torch.randn(rows, width, generator=draw)
    folds = torch.randint(0, 90, (rows, channel.folds, PHASES, LEVELS), generator=draw)
    return levels, numbers.to(levels.device), folds.to(torch.uint8).to(levels.device)


def _rows(eaten: Eaten, rows: int) -> Eaten:
    return tuple(e[:rows] for e in eaten) if isinstance(eaten, tuple) else eaten[:rows]
