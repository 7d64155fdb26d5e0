"""The last stage: images in, labels out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from broker.beside import Beside
from broker.clock import now_ms
from broker.folds import LEVELS, PHASES
from broker.grids import GRIDS
from broker.measurements import channel_rows
from broker.records import REASONS, Images, Labels
from models import domain, feed, forward, fusion
from models.cards import Card
from models.prior import proportions, restated

NO_GAIN = REASONS.index("no_gain")

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
    precision
        See `models.forward.prepare`.
    threads : int
        Threads of PyTorch on the CPU, for the whole process.
    prior : mapping
        Each class to its share in this stream, see models.prior; empty: as the card assumes.
    on_device_lost : callable
        Told in words when the device failed; labelling goes on on the CPU.

    Attributes
    ----------
    device, precision : str
        What it runs on, for the log.
    assumes : str
        The proportions of the classes that its probabilities assume, for `Labels.params`.
    """

    def __init__(
        self,
        card: Card,
        device: str = "auto",
        max_batch: int = 256,
        clock: Callable[[], int] = now_ms,
        *,
        precision: forward.Precision = "fp32",
        threads: int = 1,
        prior: Mapping[str, float] | None = None,
        on_device_lost: Callable[[str], None] = lambda _: None,
        prepare: Prepare = forward.prepare,
    ) -> None:
        if max_batch not in SHAPES:
            msg = f"max_batch {max_batch}: expected one of {SHAPES}"
            raise ValueError(msg)
        torch.set_num_threads(threads)
        self.card = card
        self._prior = proportions(card, prior or {})
        self._assumed = self._prior if not prior else proportions(card, {})
        shares = zip(card.classes, self._prior.tolist(), strict=False)
        said = ",".join(f"{name}:{share:.4g}" for name, share in shares)
        self.assumes = said or "unknown"
        self._params = f"{card.params} assumes={self.assumes}"
        self._says_from = card.says_from
        self._clock = clock
        self._on_device_lost = on_device_lost
        self._shapes = tuple(s for s in SHAPES if s <= max_batch)
        self._grid = GRIDS[card.channel.grid]
        self._numbers = card.channel.numbers + card.channel.together
        self._place = channel_rows([card.channel])[0]["place"]
        images = max(1, len(card.channel.bands))  # that one row has
        self._counts = np.zeros((max_batch, images * self._grid.cells), np.int32)
        self._on_cpu = partial(prepare, card, "cpu", self._shapes, precision)
        self._forward = prepare(card, device, self._shapes, precision)

    @property
    def device(self) -> str:
        return self._forward.device

    @property
    def precision(self) -> str:
        return self._forward.precision

    def classify(self, images: Images) -> Labels:
        """Label any number of images; those that are not named carry a reason.

        Reasons come in this order: the one that the image has already (solar_system, withdrawn),
        no_photometry, out_of_domain, too_few_points, no_gain. One of no_gain still tells how
        unlike the objects of its training it is.

        Raises
        ------
        ValueError
            What an image holds does not fit what its channel declares.
        """
        card, blocks = self.card, images.blocks
        reason = images.images["reason"].copy()
        block, first_row = feed.choose(
            reason,
            domain.inside(card.domain, images.images),
            images.first_block,
            blocks["channel"],
            blocks["band"],
            blocks["n"],
            card.channel.hash,
            bool(card.channel.bands),
            card.min_points,
        )
        n = np.ascontiguousarray(blocks["n"][block])
        whole = np.empty((len(block), len(card.classes) + 1), np.float32)
        for begin, end, shape in device_batches(len(block), self._shapes):
            whole[begin:end] = self._whole(images, block[begin:end], n[begin:end], shape)
        survey = np.ascontiguousarray(images.images["survey"])
        log_p = np.ascontiguousarray(whole[:, :-1])
        probabilities = self._forward.fusion(log_p, n, first_row, survey)
        if self._prior is not self._assumed:
            probabilities = restated(probabilities, self._assumed, self._prior)
        most, novelty = fusion.weigh(np.ascontiguousarray(whole[:, -1]), n, first_row)
        vain = (reason == 0) & (most < self._says_from)
        reason[vain], probabilities[vain] = NO_GAIN, np.nan
        return Labels(
            images=images,
            reason=reason,
            probabilities=probabilities,
            novelty=novelty,
            classes=card.classes,
            class_ids=card.class_ids,
            conditional_on=card.conditional_on,
            classifier=card.classifier,
            params=f"{self._params} device={self.device} precision={self.precision}",
            weights_hash=card.weights_sha256,
            grid_hash=str(self._grid.hash),
            classified_ms=self._clock(),
        )

    def _whole(
        self, images: Images, block: NDArray[np.int64], n: NDArray[np.int32], shape: int
    ) -> NDArray[np.float32]:
        counts = self._counts[:shape]  # (row, cell), or (row, band * cell)
        spans, each = images.blocks["counts"], block[:, None]
        if self.card.channel.bands:
            of = images.blocks["channel"], images.blocks["band"]
            each = feed.each_band(block, images.first_block, *of, self._place)
        of_bands = counts.reshape(-1, self._grid.cells)
        bad = feed.scatter(each.ravel(), spans["start"], spans["length"], images.heap, of_bands)
        if bad >= 0:
            image = _image_of(images, each.ravel()[bad])
            msg = f"the counts of image {image} do not fit the grid {self._grid.name!r}"
            raise ValueError(msg)
        beside = self._beside(images, block, shape) if self._numbers else None
        padded_n = np.zeros(shape, np.int32)
        padded_n[: len(n)] = n
        try:
            whole = self._forward.whole(counts, padded_n, beside)
        except RuntimeError as error:
            if self.device == "cpu":
                if "allocate memory" in str(error):  # no image's fault
                    raise MemoryError(str(error)) from error
                raise
            self._on_device_lost(f"{self.device} failed, labelling goes on on the CPU: {error}")
            self._forward = self._on_cpu()
            whole = self._forward.whole(counts, padded_n, beside)
        return whole[: len(n)]

    def _beside(self, images: Images, block: NDArray[np.int64], shape: int) -> Beside:
        channel, spans = self.card.channel, images.blocks["scalars"]
        size = channel.beside + 4 * channel.together
        rows = np.empty((shape, size), np.uint8)
        least = 4 * (len(channel.scalars) + channel.together)
        bad = feed.gather(block, spans["start"], spans["length"], images.heap, least, rows)
        if bad >= 0:
            image, length = _image_of(images, block[bad]), spans["length"][block[bad]]
            msg = f"image {image} has {length} bytes beside its counts, not {size}"
            raise ValueError(msg)
        numbers = np.ascontiguousarray(rows[:, : 4 * self._numbers]).view("<f4")
        folds = rows[:, 4 * self._numbers :].reshape(shape, channel.folds, PHASES, LEVELS)
        return Beside(numbers, folds)


def _image_of(images: Images, block: int) -> int:
    """The image that a block belongs to."""
    return int(np.searchsorted(images.first_block, block, "right")) - 1


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
