"""A trained network ready on one device, in the precision that a short measurement chose."""

from __future__ import annotations

import hashlib
import shutil
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load
from torch import nn

from broker.grids import GRIDS
from models import intensity, network
from models.cards import Card

Precision = Literal["auto", "fp32", "bf16"]
Compile = Literal["never", "auto"]

#: Another mode must be this much faster than plain fp32 to be worth its difference in bits.
CLEARLY_FASTER = 1.3


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
    """

    device: str
    precision: str
    images_per_s: dict[str, float]
    log_p: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]

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
            answer: NDArray[np.float32] = (
                self.log_p(on_device, torch.from_numpy(n).to(self.device)).cpu().numpy()
            )
        return answer


def load_network(card: Card) -> nn.Module:
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
    return net.eval().requires_grad_(False)


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
        as fast, on others slower).
    compile : {"never", "auto"}
        "auto" also tries torch.compile where there is a C++ compiler; that takes a minute.
    """
    device = choose_device(device)
    shapes = sorted(shapes)
    grid = GRIDS[card.channel.grid].shape
    torch.backends.cudnn.allow_tf32 = False  # fp32 says what it is
    torch.backends.cudnn.deterministic = True
    modes = {
        name: _mode(load_network(card), device, grid, dtype)
        for name, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16))
        if precision in ("auto", name)
    }
    if compile == "auto" and (shutil.which("c++") or shutil.which("g++")):
        modes |= {f"{name} compiled": _compiled(mode) for name, mode in modes.items()}

    counts = torch.zeros((shapes[-1], grid[0] * grid[1]), dtype=torch.int32, device=device)
    n = torch.full((shapes[-1],), 2, dtype=torch.int32, device=device)
    with torch.inference_mode():
        seconds = {name: _seconds(mode, counts, n) for name, mode in modes.items()}
        plain = next(iter(modes))
        best = min(seconds, key=seconds.__getitem__)
        if seconds[best] * CLEARLY_FASTER > seconds[plain]:
            best = plain
        for rows in shapes:
            modes[best](counts[:rows], n[:rows])
    speed = {name: shapes[-1] / s for name, s in seconds.items()}
    return Forward(device, best, speed, modes[best])


def _mode(
    net: nn.Module, device: str, grid: tuple[int, int], dtype: torch.dtype
) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    net = net.to(device)
    network.cast_body(net, dtype)

    def log_p(counts: torch.Tensor, n: torch.Tensor) -> torch.Tensor:
        # Grey levels are whole numbers up to 255: bf16 holds them exactly.
        levels = intensity.paper(counts, n).to(dtype).view(-1, 1, *grid)  # (row, 1, dm, dt)
        return torch.log_softmax(net(levels), dim=1)

    return log_p


def _compiled(
    mode: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    import torch._inductor.config as inductor

    inductor.freezing = True  # weights are constants: without it compiling gains nothing
    return torch.compile(mode, dynamic=False)


def _seconds(
    mode: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    counts: torch.Tensor,
    n: torch.Tensor,
    repeats: int = 3,
) -> float:
    best = np.inf
    mode(counts, n).cpu()  # the first run allocates, picks kernels and compiles
    for _ in range(repeats):
        start = time.perf_counter()
        mode(counts, n).cpu()  # .cpu() waits for the device
        best = min(best, time.perf_counter() - start)
    return best
