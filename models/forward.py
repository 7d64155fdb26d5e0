"""A trained network ready on one device, in the precision that a short measurement chose."""

from __future__ import annotations

import hashlib
import shutil
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load

from broker.grids import GRIDS
from models import network
from models.cards import Card

Precision = Literal["auto", "fp32", "bf16"]
Compile = Literal["never", "auto"]

#: Another mode must be this much faster than plain fp32 to be worth its difference in bits,
CLEARLY_FASTER = 1.3
#: and its probabilities of the images that are tried may differ from those of fp32 by this much.
#: (Of 7,354 real stars the most was 0.009 where it was 0.0036 of these: bf16, crts-rows.)
MOST_DIFFERENCE = 0.005

Mode = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True, slots=True)
class Forward:
    """Counts in, log probabilities out.

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
    grid: tuple[int, int]
    levels: Callable[[torch.Tensor, torch.Tensor, tuple[int, int]], torch.Tensor]
    log_p: Mode

    def __call__(self, counts: NDArray[np.int32], n: NDArray[np.int32]) -> NDArray[np.float32]:
        """Log probabilities (row, class) f4 of counts (row, cell) with n (row,) measurements.

        Raises
        ------
        RuntimeError
            The device failed.
        """
        with torch.inference_mode():
            # Counts cross to the device once; all else is computed there.
            on_device = torch.from_numpy(counts).to(self.device)
            levels = self.levels(on_device, torch.from_numpy(n).to(self.device), self.grid)
            answer: NDArray[np.float32] = self.log_p(levels).cpu().numpy()
        return answer


def load_network(card: Card) -> network.Network:
    """The card's network with its trained weights, on the CPU.

    Raises
    ------
    ValueError
        The weights are not those that the card was written for.
    """
    data = card.weights.read_bytes()
    if hashlib.sha256(data).hexdigest() != card.weights_sha256:
        msg = f"{card.weights} is not the file that {card.name}.toml describes (sha256 differs)"
        raise ValueError(msg)
    net = network.build(card.network, GRIDS[card.channel.grid].shape, len(card.classes))
    net.load_state_dict(load(data))
    net.eval().requires_grad_(False)
    return net


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
    modes = {
        name: mode(load_network(card), device, dtype)
        for name, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16))
        if precision in ("auto", name)
    }
    if compile == "auto" and (shutil.which("c++") or shutil.which("g++")):
        modes |= {f"{name} compiled": compiled(plain) for name, plain in modes.items()}

    levels_of = network.NETWORKS[card.network].levels
    with torch.inference_mode():
        counts, n = (torch.from_numpy(a).to(device) for a in _probe(shapes[-1], grid))
        levels = levels_of(counts, n, grid)
        first = next(iter(modes.values()))(levels).exp()
        differs = {
            name: (run(levels).exp() - first).abs().max().item() for name, run in modes.items()
        }
        seconds = {name: _seconds(run, levels) for name, run in modes.items()}
        best = choose(seconds, differs)
        for rows in shapes:
            modes[best](levels[:rows])
    speed = {name: shapes[-1] / s for name, s in seconds.items()}
    return Forward(device, best, speed, differs, grid, levels_of, modes[best])


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
    """Levels in, log probabilities out, all but the last layer in `dtype`."""
    net.to(device)
    net.body.to(dtype)

    def log_p(levels: torch.Tensor) -> torch.Tensor:
        return torch.log_softmax(net(levels), dim=1)

    return log_p


def compiled(plain: Mode) -> Mode:
    """The same through torch.compile."""
    import torch._inductor.config as inductor

    inductor.freezing = True  # weights are constants: without it compiling gains nothing
    return torch.compile(plain, dynamic=False)


def _probe(rows: int, grid: tuple[int, int]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Counts (row, cell) and n (row,) of curves of 5 to 300 points, some cells with most pairs."""
    draw = np.random.default_rng(0)
    n = np.linspace(5, 300, rows).astype(np.int32)
    share = draw.dirichlet(np.full(grid[0] * grid[1], 0.1), rows)
    return draw.multinomial(n * (n - 1) // 2, share).astype(np.int32), n


def _seconds(run: Mode, levels: torch.Tensor, repeats: int = 3) -> float:
    best = np.inf
    for _ in range(repeats):
        start = time.perf_counter()
        run(levels).cpu()  # .cpu() waits for the device
        best = min(best, time.perf_counter() - start)
    return best
