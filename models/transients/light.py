"""What generators of changing sources share: their light at given times, colours, one draw each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numba import njit
from numpy.typing import NDArray

from broker.grids import MICRODAYS
from broker.records import BANDS
from models.transients.curves import Curves

Floats: TypeAlias = NDArray[np.float64]

#: Effective wavelengths of u g r i z y, micrometres (Fukugita et al. 1996, AJ 111, 1748; y LSST's).
MICROMETRES = np.ones(len(BANDS))
MICROMETRES[:6] = (0.3596, 0.4639, 0.6122, 0.7439, 0.8896, 0.9710)
#: Magnitudes of extinction per E(B-V) (Schlafly & Finkbeiner 2011, ApJ 737, 103, R_V = 3.1).
EXTINCTION = np.zeros(len(BANDS))
EXTINCTION[:6] = (4.239, 3.303, 2.285, 1.698, 1.263, 1.086)


@dataclass(frozen=True, slots=True)
class Light:
    """A source's light at given times, in a unit of its own.

    ``change`` (point,) f8 is its flux minus that of the reference image, ``behind`` (point,) f8
    what the reference holds there, which adds noise and no signal.
    """

    change: Floats
    behind: Floats


#: Light of one source for each object of `Curves`, at that one's times and in its bands.
Generator = Callable[[Curves, np.random.Generator], Light]


def owners(times: Curves) -> NDArray[np.int64]:
    """Which object each point (point,) is of."""
    return np.repeat(np.arange(len(times)), times.n)


def days(times: Curves) -> Floats:
    """Days (point,) since the object's first point."""
    start = np.zeros(len(times), np.int64)
    some = times.n > 0
    start[some] = times.time[times.first[:-1][some]]
    result: Floats = (times.time - start[owners(times)]) / MICRODAYS
    return result


def power_law(slope: Floats) -> Floats:
    """Flux (object, band) of sources whose F_nu goes as nu^slope (object,), 1 in r."""
    ratio = MICROMETRES[BANDS.index("r")] / MICROMETRES
    result: Floats = ratio[None] ** slope[:, None]
    return result


def reddened(excess: Floats) -> Floats:
    """Share (object, band) of the light that dust of E(B-V) = excess (object,) lets pass."""
    result: Floats = 10 ** (-0.4 * excess[:, None] * EXTINCTION)
    return result


def log_uniform(draw: np.random.Generator, limits: tuple[float, float], count: int) -> Floats:
    """(count,) numbers between two limits, as many in each octave."""
    low, high = limits
    result: Floats = np.exp(draw.uniform(np.log(low), np.log(high), count))
    return result


def walk(times: Curves, memory: Floats, draw: np.random.Generator) -> Floats:
    """A damped random walk (point,) of deviation 1 that forgets in `memory` (object,) days."""
    noise = draw.normal(size=len(times.time))
    result: Floats = _walk(times.time, times.first, memory, noise)
    return result


@njit(cache=True, nogil=True)
def _walk(
    time: NDArray[np.int64],
    first: NDArray[np.int64],
    memory: NDArray[np.float64],
    noise: NDArray[np.float64],
) -> NDArray[np.float64]:
    result = np.empty(len(time))
    for i in range(len(first) - 1):
        last = 0.0
        for k in range(first[i], first[i + 1]):
            kept = 0.0
            if k > first[i]:
                kept = np.exp(-(time[k] - time[k - 1]) / MICRODAYS / memory[i])
            last = kept * last + np.sqrt(1.0 - kept * kept) * noise[k]
            result[k] = last
    return result
