"""What networks eat, declared as plain data: the channels that the curves stage computes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from hashlib import blake2b
from typing import Any

from broker import course
from broker.asinh import DEPTHS
from broker.folds import LEVELS, PHASES
from broker.grids import GRIDS
from broker.periodogram import FEATURES, PEAKS
from broker.records import BAD_FLUX, KINDS, PHOTOMETRIES
from broker.scalars import SCALARS


def _hash(*words: object) -> int:
    return int.from_bytes(blake2b(repr(words).encode(), digest_size=8).digest(), "big") >> 1


def _known(what: str, name: str, names: Iterable[str]) -> None:
    if name not in names:
        msg = f"no {what} is called {name!r}; there are: {', '.join(names)}"
        raise ValueError(msg)


@dataclass(frozen=True, slots=True)
class Channel:
    """One image per band: a grid, a photometry, and which points may enter.

    Attributes
    ----------
    grid
        Name in broker.grids.GRIDS.
    photometry
        Name in broker.records.PHOTOMETRIES.
    kinds
        Kinds of points that are measurements: detection, forced, or both.
    min_reliability
        Detections below it, or without one, stay out if it is above 0. Forced photometry carries
        no reliability and is not asked for one.
    refuse_flags
        Bits of broker.records; withdrawn points and solar-system bodies stay out in any case.
    scalars
        Names in broker.scalars.SCALARS, one float32 each beside the counts.
    periodogram
        Whether broker.periodogram.FEATURES follow them, measured by the ladder of its `rung`, and
        before these the logarithm of how many points that were (0: none).
    folds
        How many fold images follow (broker.folds), of the best frequencies; at most
        broker.periodogram.PEAKS, and only with a periodogram.
    survey, bands
        Of asinh photometry alone: whose softening fluxes it has (broker.asinh), and the bands that
        enter, in the network's order. ZTF's are for objects of ZTF, others for those of the other
        surveys (ELAsTiCC's are as LSST's). An image then has one more block, of all of them
        together: their course and numbers (broker.course), float32.

    Raises
    ------
    ValueError
        A name is not known (the message lists those that are), or they do not go together.
    """

    grid: str
    photometry: str
    kinds: tuple[str, ...]
    min_reliability: float = 0.0
    refuse_flags: int = BAD_FLUX
    scalars: tuple[str, ...] = ()
    periodogram: bool = False
    folds: int = 0
    survey: str = ""
    bands: str = ""

    def __post_init__(self) -> None:
        _known("grid", self.grid, GRIDS)
        _known("photometry", self.photometry, PHOTOMETRIES)
        for kind in self.kinds:
            _known("kind of measurement", kind, KINDS[:2])  # a limit never is one
        for name in self.scalars:
            _known("scalar", name, SCALARS)
        if not 0 <= self.folds <= (PEAKS if self.periodogram else 0):
            msg = f"{self.folds} folds: expected at most {PEAKS}, and none without a periodogram"
            raise ValueError(msg)
        if self.photometry == "asinh":
            _known("survey with softening fluxes", self.survey, DEPTHS)
            for band in self.bands:
                _known(f"band of {self.survey}", band, DEPTHS[self.survey])
        if (self.photometry == "asinh") != bool(self.bands) or (self.bands and self.beside):
            msg = "bands go with asinh photometry, and this with neither scalars nor periodogram"
            raise ValueError(msg)

    @property
    def numbers(self) -> int:
        """How many numbers stand beside the counts."""
        return len(self.scalars) + (1 + len(FEATURES) if self.periodogram else 0)

    @property
    def beside(self) -> int:
        """Bytes of what stands beside the counts: `numbers` float32, then `folds` images."""
        return 4 * self.numbers + self.folds * PHASES * LEVELS

    @property
    def together(self) -> int:
        """How many numbers the block of all bands has: the course, then broker.course.names."""
        if not self.bands:
            return 0
        return len(self.bands) * len(course.NODES) * 2 + len(course.names(self.bands))

    @property
    def hash(self) -> int:
        """63 bits of the declaration (with the grid's edges), the same on every machine."""
        grid = GRIDS[self.grid].hash
        words = (sorted(self.kinds), float(self.min_reliability), self.refuse_flags, self.scalars)
        # What came later is told only where it is asked for, so that older hashes stay.
        more: tuple[object, ...] = (FEATURES, self.folds) if self.periodogram else ()
        if self.bands:
            more = (self.survey, self.bands, dict(DEPTHS[self.survey]), course.names(self.bands))
        return _hash(grid, self.photometry, *words, *more)


@dataclass(frozen=True, slots=True)
class Inputs:
    """All channels that the curves stage computes, in the order of an image's blocks."""

    channels: tuple[Channel, ...]

    @property
    def hash(self) -> int:
        """63 bits of the channels in their order."""
        words: list[object] = [channel.hash for channel in self.channels]
        if any(channel.bands for channel in self.channels):
            words.append("objects of its survey alone")  # kept counts of before are made anew
        return _hash(*words)

    @staticmethod
    def union(several: Iterable[Inputs]) -> Inputs:
        """What all of these need, each channel once; the order of `several` does not matter."""
        channels = {channel.hash: channel for inputs in several for channel in inputs.channels}
        return Inputs(tuple(channels[key] for key in sorted(channels)))

    @staticmethod
    def from_dict(table: Mapping[str, Any]) -> Inputs:
        """Read `{"channels": [{...}, ...]}`, as it stands in a card (TOML).

        Raises
        ------
        ValueError
            A key or a name is not known, or one is missing; the message says which.
        """
        keys = [field.name for field in fields(Channel)]
        channels = []
        for row in table["channels"]:
            for key in row:
                _known("key of a channel", key, keys)
            values: dict[str, Any] = {
                k: tuple(v) if isinstance(v, list) else v for k, v in row.items()
            }
            try:
                channels.append(Channel(**values))
            except TypeError as error:
                msg = f"a channel lacks something: {error}"
                raise ValueError(msg) from error
        return Inputs(tuple(channels))

    def to_dict(self) -> dict[str, Any]:
        """The inverse of `from_dict`."""
        rows = [asdict(channel) for channel in self.channels]
        return {
            "channels": [
                {k: list(v) if isinstance(v, tuple) else v for k, v in row.items()} for row in rows
            ]
        }
