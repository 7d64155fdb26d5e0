"""A trained network ready on one device, in the precision that a short measurement chose."""

from __future__ import annotations

import copy
import shutil
import time
from collections.abc import Callable, Iterable, Mapping
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
from models import cards, network, unseen
from models.cards import Card
from models.periodic.network import Periodic
from models.transients import network as transient
from models.transients.streamed import Streamed
from models.unseen import Typical

Precision = Literal["auto", "fp32", "bf16"]
Compile = Literal["never", "auto"]

#: Another mode must be this much faster than plain fp32 to be worth its difference in bits,
CLEARLY_FASTER = 1.3
#: and its probabilities of the images that are tried may differ from those of fp32 by this much.
#: (Of 7,354 real stars the most was 0.009 where it was 0.0036 of these: bf16, crts-rows.)
MOST_DIFFERENCE = 0.005

Eaten = torch.Tensor | tuple[torch.Tensor, ...]
Mode = Callable[[Eaten], torch.Tensor]


@dataclass(frozen=True, slots=True)
class Forward:
    """Counts in, log probabilities out, and how unlike all that training saw an object is.

    Attributes
    ----------
    device : str
        "cpu" or "cuda".
    precision : str
        What was chosen: "fp32", "bf16", or one of these and " compiled".
    images_per_s : dict[str, float]
        What each mode that was tried gave, in the largest shape.
    differs : dict[str, float]
        How far probabilities of each mode lay from those of the first.
    """

    device: str
    precision: str
    images_per_s: dict[str, float]
    differs: dict[str, float]
    channel: Channel
    levels: Callable[[torch.Tensor, torch.Tensor, tuple[int, int]], torch.Tensor]
    typical: Typical | None
    run: Mode

    def __call__(
        self,
        counts: NDArray[np.int32],
        n: NDArray[np.int32],
        beside: Beside | None = None,
    ) -> NDArray[np.float32]:
        """Log probabilities (row, class) f4 of counts (row, cell) with n (row,) measurements.

        Of a network that eats all bands of an object at once, counts are (row, band * cell).

        `beside` is what the channel has beside its images, if it has.

        Raises
        ------
        RuntimeError
            The device failed.
        """
        return self.whole(counts, n, beside)[:, :-1]

    def whole(
        self,
        counts: NDArray[np.int32],
        n: NDArray[np.int32],
        beside: Beside | None = None,
    ) -> NDArray[np.float32]:
        """The same, and in one column more (row, class + 1) the share of known objects that are
        less unlike the others; NaN where that was not learned.
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
        "cuda" was asked for and is not there, or something else was.
    """
    if wanted not in ("auto", "cpu", "cuda"):
        msg = f"device {wanted!r}: expected auto, cpu or cuda"
        raise ValueError(msg)
    there = wanted != "cpu" and torch.cuda.is_available()
    if wanted == "cuda" and not there:
        msg = "device cuda: PyTorch finds no CUDA device here; use auto or cpu"
        raise ValueError(msg)
    return "cuda" if there else "cpu"


def prepare(
    card: Card,
    device: str = "auto",
    shapes: Iterable[int] = (16, 64, 256),
    precision: Precision = "auto",
    compile: Compile = "never",  # noqa: A002
) -> Forward:
    """Load the network and choose how to run it; every shape has been run once afterwards.

    Parameters
    ----------
    card : Card
    device : str
        "auto", "cpu" or "cuda".
    shapes : iterable of int
        Rows of the device batches to come.
    precision : {"auto", "fp32", "bf16"}
        "auto" takes bf16 if it is clearly faster here (on CPUs with AMX or AVX512-BF16 it is twice
        as fast, on others slower) and names as fp32 does.
    compile : {"never", "auto"}
        "auto" also tries torch.compile where there is a C++ compiler. Worth it on CPUs with AMX at
        most: elsewhere crts-rows in fp32 gains nothing (14.6 us an image against 14.0), and 8 s
        of start-up go to it for each shape even with a warm cache.
    """
    device = choose_device(device)
    shapes = sorted(shapes)
    grid = GRIDS[card.channel.grid].shape
    torch.backends.cudnn.allow_tf32 = False  # fp32 says what it is
    torch.backends.cudnn.deterministic = True
    net = load_network(card)
    modes = {
        name: mode(copy.deepcopy(net), device, dtype)
        for name, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16))
        if precision in ("auto", name)
    }
    if compile == "auto" and (shutil.which("c++") or shutil.which("g++")):
        modes |= {f"{name} compiled": compiled(plain) for name, plain in modes.items()}

    with torch.inference_mode():
        images = max(1, len(card.channel.bands))
        counts, n = (torch.from_numpy(a).to(device) for a in _probe(shapes[-1], grid, images))
        eaten = _with_beside(net.levels(counts, n, grid), card.channel)
        first = next(iter(modes.values()))(eaten)[:, :-1].exp()
        differs = {
            name: (run(eaten)[:, :-1].exp() - first).abs().max().item()
            for name, run in modes.items()
        }
        seconds = {name: _seconds(run, eaten) for name, run in modes.items()}
        best = choose(seconds, differs)
        for rows in shapes:
            modes[best](_rows(eaten, rows))
    speed = {name: shapes[-1] / s for name, s in seconds.items()}
    return Forward(device, best, speed, differs, card.channel, net.levels, net.typical, modes[best])


def choose(seconds: Mapping[str, float], differs: Mapping[str, float]) -> str:
    """The fastest mode that answers as the first does; the first, unless another is clearly faster.

    >>> choose({"fp32": 1.0, "bf16": 0.5}, {"fp32": 0.0, "bf16": 0.004})
    'bf16'
    >>> choose({"fp32": 1.0, "bf16": 0.5}, {"fp32": 0.0, "bf16": 0.02})
    'fp32'
    """
    first = next(iter(seconds))
    worth = [
        name
        for name, s in seconds.items()
        if s * CLEARLY_FASTER <= seconds[first] and differs[name] <= MOST_DIFFERENCE
    ]
    return min(worth, key=seconds.__getitem__, default=first)


def mode(net: network.Network, device: str, dtype: torch.dtype) -> Mode:
    """What it eats in; log probabilities out, and behind them what `unseen.Typical` ranks.

    All but that and the last layer is computed in `dtype`.
    """
    net.to(device)
    net.body.to(dtype)

    strangeness = None if net.typical is None else net.typical.strangeness()

    def run(eaten: Eaten) -> torch.Tensor:
        hidden = net.hidden(eaten)
        logits = net.logits(hidden, eaten)
        log_p = torch.log_softmax(logits, dim=1)
        if strangeness is None:
            return functional.pad(log_p, (0, 1), value=torch.nan)
        total = logits[:, 0] - log_p[:, 0]
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


def _seconds(run: Mode, eaten: Eaten, repeats: int = 3) -> float:
    best = np.inf
    for _ in range(repeats):
        start = time.perf_counter()
        run(eaten).cpu()  # .cpu() waits for the device
        best = min(best, time.perf_counter() - start)
    return best
