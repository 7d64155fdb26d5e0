"""`nightjar train`: from labelled light curves to weights and their card."""

from __future__ import annotations

import copy
import hashlib
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save
from torch import nn
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from broker.grids import GRIDS
from broker.inputs import Channel, Inputs
from broker.taxonomy import IDS
from models import cards, catalogue, forward, intensity, network
from models.cards import Card
from models.catalogue import Catalogue
from models.domain import Rule
from models.evaluate import scores

GRID = GRIDS["fiducial"]
BATCH = 128
LEARNING_RATE = 2e-4
EMA_DECAY = 0.998
#: Of each epoch's objects so many keep their whole curve; of the others' curves only a first part
#: is seen, of its points all or one a night. The sky is observed more often one way than the other.
WHOLE, FIRST_PART = 0.40, 0.35
SHORTEST = 4

NAME = "crts-shallow"
CLASSES = tuple(catalogue.CLASSES.values())


@dataclass(frozen=True, slots=True)
class Epoch:
    """How training stands: validation figures are those of the averaged weights."""

    number: int
    of: int
    seconds: float
    validation_loss: float
    validation_accuracy: float
    best: bool


def train(
    data: Path,
    out: Path,
    epochs: int = 28,
    seed: int = 0,
    device: str = "auto",
    progress: Callable[[Epoch], None] = lambda _: None,
    threads: int = 1,
) -> Card:
    """Train the shallow network on the CRTS-S curves; write weights and card.

    Adam at the paper's step; an exponential mean of the weights is what is kept, at the epoch
    that a validation part of the training objects likes best. The test objects are looked at once,
    for the figures on the card. About 15 s an epoch on one core.

    Parameters
    ----------
    data : Path
        Folder with crts_south.npz.
    out : Path
        Folder for crts-shallow.safetensors and crts-shallow.toml; made if it is not there.
    epochs, seed : int
        The same seed, kind of device and number of threads give the same weights.
    device : str
        "auto", "cpu" or "cuda".
    progress : callable
        Told after each epoch.
    threads : int
        Threads of PyTorch on the CPU, for the whole process.

    Raises
    ------
    FileNotFoundError
        `data` does not hold the light curves.
    """
    torch.set_num_threads(threads)
    curves = catalogue.read(data)
    on = forward.choose_device(device)
    dtype = faster_dtype(on)
    start = time.perf_counter()
    net, best = fit(curves, epochs, seed, on, dtype, progress)
    training = {
        "data": "CRTS-S periodic variables (Drake et al. 2017), crts_south.npz",
        "objects": len(curves.training),
        "test_split": "crc32(id) % 5 == 1",
        "validation_split": "of the others, crc32(id) // 5 % 10 == 0",
        "curves": "whole 40 %, first part 35 %, first part of one point a night 25 %",
        "optimizer": f"Adam, step {LEARNING_RATE}, batch {BATCH}, mean of weights {EMA_DECAY}",
        "precision": str(dtype).removeprefix("torch."),
        "device": on,
        "epochs": epochs,
        "best_epoch": best,
        "seed": seed,
        "seconds": round(time.perf_counter() - start),
    }
    out.mkdir(parents=True, exist_ok=True)
    path = out / f"{NAME}.toml"
    weights = save({name: w.contiguous().cpu() for name, w in net.state_dict().items()})
    path.with_suffix(".safetensors").write_bytes(weights)
    card = replace(
        declaration(path),
        weights_sha256=hashlib.sha256(weights).hexdigest(),
        training=training,
    )
    measured = scores(forward.prepare(card, on, (256,)), curves)
    card = replace(card, measured=[asdict(s) for s in measured])
    path.write_text(cards.dump(card))
    return card


def declaration(path: Path) -> Card:
    """The card at `path`, but for what training will find out."""
    return Card(
        name=path.stem,
        version="1",
        network="shallow",
        classes=CLASSES,
        class_ids=tuple(IDS[c] for c in CLASSES),
        conditional_on="a periodic variable star of one of these classes",
        inputs=Inputs((Channel(GRID.name, "total", ("detection", "forced")),)),
        domain={
            # A star, and the reference flux under the alert is its own.
            "ztf": (Rule("distnr", below=1.4), Rule("sgscore1", above=0.5)),
            "lsst": (
                Rule("templateFlux", above=5.0, times="templateFluxErr"),
                Rule("extendedness", below=0.5),
            ),
        },
        min_points=5,
        weights=path.with_suffix(".safetensors"),
        weights_sha256="",
        licence="MIT",
        training={},
        measured=(),
    )


def fit(
    curves: Catalogue,
    epochs: int,
    seed: int,
    device: str,
    dtype: torch.dtype,
    progress: Callable[[Epoch], None],
) -> tuple[nn.Module, int]:
    """Train on the training objects; the weights of the best epoch, and its number."""
    torch.manual_seed(seed)
    draw = np.random.default_rng(seed)
    nightly = curves.nightly()
    objects = curves.training
    label = torch.from_numpy(curves.label[objects])
    whole = images(curves, objects, curves.n[objects])  # (object, cell) u1, made once
    validation, true = _validation(curves, nightly, np.random.default_rng(seed + 1))

    net = network.build("shallow", GRID.shape, len(CLASSES)).to(device)
    average = get_ema_multi_avg_fn(EMA_DECAY)  # type: ignore[no-untyped-call]
    mean = AveragedModel(net, multi_avg_fn=average)
    optimizer = torch.optim.Adam(net.parameters(), LEARNING_RATE, fused=True)
    best, best_loss, best_net = 0, np.inf, net
    for number in range(1, epochs + 1):
        start = time.perf_counter()
        net.train()
        levels = whole.clone()
        kind = draw.random(len(objects))
        for these, chosen in (
            (curves, (kind >= WHOLE) & (kind < WHOLE + FIRST_PART)),
            (nightly, kind >= WHOLE + FIRST_PART),
        ):
            part = objects[chosen]
            levels[chosen] = images(these, part, shortened(these.n[part], draw))
        order = torch.from_numpy(draw.permutation(len(objects)))
        for begin in range(0, len(order), BATCH):
            batch = order[begin : begin + BATCH]
            optimizer.zero_grad()
            with torch.autocast(device, dtype, enabled=dtype != torch.float32):
                logits = net(_feed(levels[batch], device))
                loss = functional.cross_entropy(logits, label[batch].to(device))
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            mean.update_parameters(net)
        log_p = _log_p(mean.module, validation, device)
        loss_now = functional.nll_loss(log_p, true).item()
        accuracy = (log_p.argmax(1) == true).float().mean().item()
        if loss_now < best_loss:
            best, best_loss, best_net = number, loss_now, copy.deepcopy(mean.module)
        seconds = time.perf_counter() - start
        progress(Epoch(number, epochs, seconds, loss_now, accuracy, best == number))
    return best_net.eval(), best


def images(curves: Catalogue, objects: NDArray[np.int64], n: NDArray[np.int64]) -> torch.Tensor:
    """Grey levels (object, cell) u1 of the first n (object,) points of objects (object,)."""
    counts = torch.from_numpy(curves.cut(objects, n).counts(GRID))
    return intensity.paper(counts, torch.from_numpy(n)).byte()


def shortened(n: NDArray[np.int64], draw: np.random.Generator) -> NDArray[np.int64]:
    """Lengths between 4 and n, each octave as often."""
    longest = np.maximum(n, SHORTEST)
    length = np.exp(draw.uniform(np.log(SHORTEST), np.log(longest + 1))).astype(np.int64)
    result: NDArray[np.int64] = np.minimum(length, n)
    return result


def faster_dtype(device: str) -> torch.dtype:
    """bf16 where the device multiplies it faster than float32: GPUs, CPUs with AMX."""
    seconds = {}
    for dtype in (torch.float32, torch.bfloat16):
        a = torch.ones((1024, 1024), dtype=dtype, device=device)
        for _ in range(3):
            start = time.perf_counter()
            (a @ a)[0, 0].item()
            seconds[dtype] = time.perf_counter() - start
    return min(seconds, key=seconds.__getitem__)


def _validation(
    curves: Catalogue, nightly: Catalogue, draw: np.random.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    objects = curves.validation
    levels = [
        images(curves, objects, curves.n[objects]),
        *(images(c, objects, shortened(c.n[objects], draw)) for c in (curves, nightly)),
    ]
    return torch.cat(levels), torch.from_numpy(curves.label[objects]).repeat(len(levels))


def _log_p(net: nn.Module, levels: torch.Tensor, device: str) -> torch.Tensor:
    net.eval()
    with torch.inference_mode():
        parts = [
            net(_feed(levels[begin : begin + 256], device)).log_softmax(1).cpu()
            for begin in range(0, len(levels), 256)
        ]
    return torch.cat(parts)


def _feed(levels: torch.Tensor, device: str) -> torch.Tensor:
    return levels.to(device).float().view(-1, 1, *GRID.shape)  # (object, 1, dm, dt)
