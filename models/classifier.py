"""The last stage: images in, labels out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from broker.clock import now_ms
from broker.grids import GRIDS
from broker.records import Images, Labels
from models import domain, feed, forward
from models.cards import Card

#: Rows of a device batch. A row's answer has the same bits in a batch of the same shape, whatever
#: its neighbours; batches under 16 rows differ in bits from all larger ones (another matmul).
SHAPES = (16, 64, 256)


class Prepare(Protocol):
    """Makes a network ready on a device: `models.forward.prepare`."""

    def __call__(
        self,
        card: Card,
        device: str,
        shapes: tuple[int, ...],
        precision: forward.Precision,
        compile: forward.Compile,  # noqa: A002
    ) -> forward.Forward: ...


class Classifier:
    """Names what lies in its network's domain, and says why of the rest.

    Parameters
    ----------
    card : Card
        The network, its weights, what it eats and where it may speak.
    device : str
        "auto" (a CUDA device where there is one), "cpu" or "cuda".
    max_batch : int
        Rows of the largest device batch, a value of SHAPES.
    clock : callable
        Unix time in ms, for `Labels.classified_ms`.
    precision, compile
        See `models.forward.prepare`. Chosen once: the same bits until the process ends.
    threads : int
        Threads of PyTorch on the CPU, for the whole process.
    on_device_lost : callable
        Told in words when the device failed; labelling goes on on the CPU.

    Attributes
    ----------
    device, precision : str
        What was chosen, for the log.
    images_per_s : dict[str, float]
        The measurement behind the choice.
    """

    def __init__(
        self,
        card: Card,
        device: str = "auto",
        max_batch: int = 256,
        clock: Callable[[], int] = now_ms,
        *,
        precision: forward.Precision = "auto",
        compile: forward.Compile = "never",  # noqa: A002
        threads: int = 1,
        on_device_lost: Callable[[str], None] = lambda _: None,
        prepare: Prepare = forward.prepare,
    ) -> None:
        if max_batch not in SHAPES:
            msg = f"max_batch {max_batch}: expected one of {SHAPES}"
            raise ValueError(msg)
        torch.set_num_threads(threads)
        self.card = card
        self._clock = clock
        self._on_device_lost = on_device_lost
        self._shapes = tuple(s for s in SHAPES if s <= max_batch)
        self._grid = GRIDS[card.channel.grid]
        n_dm, n_dt = self._grid.shape
        self._counts = np.zeros((max_batch, n_dm * n_dt), np.int32)
        self._on_cpu = partial(prepare, card, "cpu", self._shapes, precision, compile)
        self._forward = prepare(card, device, self._shapes, precision, compile)

    @property
    def device(self) -> str:
        return self._forward.device

    @property
    def precision(self) -> str:
        return self._forward.precision

    @property
    def images_per_s(self) -> dict[str, float]:
        return self._forward.images_per_s

    def classify(self, images: Images) -> Labels:
        """Label any number of images; those that are not named carry a reason.

        Reasons come in this order: the one that the image has already (solar_system, withdrawn),
        no_photometry, out_of_domain, too_few_points.

        Raises
        ------
        ValueError
            The counts of an image do not fit the grid that its channel declares.
        """
        card, blocks = self.card, images.blocks
        reason = images.images["reason"].copy()
        block, first_row = feed.choose(
            reason,
            domain.inside(card.domain, images.images),
            images.first_block,
            blocks["channel"],
            blocks["n"],
            card.channel.hash,
            card.min_points,
        )
        n = np.ascontiguousarray(blocks["n"][block])
        log_p = np.empty((len(block), len(card.classes)), np.float32)
        for begin, end, shape in device_batches(len(block), self._shapes):
            log_p[begin:end] = self._log_p(images, block[begin:end], n[begin:end], shape)
        return Labels(
            images=images,
            reason=reason,
            probabilities=feed.fuse(log_p, n, first_row),
            classes=card.classes,
            class_ids=card.class_ids,
            conditional_on=card.conditional_on,
            classifier=card.classifier,
            params=f"{card.params} device={self.device} precision={self.precision}",
            weights_hash=card.weights_sha256,
            grid_hash=str(self._grid.hash),
            classified_ms=self._clock(),
        )

    def _log_p(
        self, images: Images, block: NDArray[np.int64], n: NDArray[np.int32], shape: int
    ) -> NDArray[np.float32]:
        counts = self._counts[:shape]  # (row, cell)
        spans = images.blocks["counts"]
        bad = feed.scatter(block, spans["start"], spans["length"], images.heap, counts)
        if bad >= 0:
            image = int(np.searchsorted(images.first_block, block[bad], "right")) - 1
            msg = f"the counts of image {image} do not fit the grid {self._grid.name!r}"
            raise ValueError(msg)
        padded_n = np.zeros(shape, np.int32)
        padded_n[: len(n)] = n
        try:
            log_p = self._forward(counts, padded_n)
        except RuntimeError as error:
            if self.device == "cpu":
                if "allocate memory" in str(error):  # no image's fault
                    raise MemoryError(str(error)) from error
                raise
            self._on_device_lost(f"{self.device} failed, labelling goes on on the CPU: {error}")
            self._forward = self._on_cpu()
            log_p = self._forward(counts, padded_n)
        return log_p[: len(n)]


def device_batches(rows: int, shapes: tuple[int, ...]) -> Iterator[tuple[int, int, int]]:
    """Cut rows into device batches: (begin, end, rows of the padded shape).

    A shape is taken when three quarters of it would be filled; the smallest takes what is left.

    >>> list(device_batches(300, (16, 64, 256)))
    [(0, 256, 256), (256, 272, 16), (272, 288, 16), (288, 300, 16)]
    """
    begin = 0
    while begin < rows:
        shape = next((s for s in reversed(shapes) if 4 * (rows - begin) >= 3 * s), shapes[0])
        end = min(begin + shape, rows)
        yield begin, end, shape
        begin = end
