"""How the brightness of each kind of object changes: shapes of light curves, per unit amplitude."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]

TURN = 2 * np.pi
#: Amplitudes and phases of an RRab's cosine series in magnitudes, relative to the first term: the
#: ratios and phase differences of a typical star of the OGLE and ASAS catalogues (Soszynski et al.
#: 2009; Simon & Teays 1982), phases advancing by about 4.2 rad a harmonic. A rise in a sixth of
#: the period and a slow fall: the sawtooth.
RRAB_RATIOS = np.array([1.0, 0.48, 0.34, 0.23, 0.13, 0.08])
RRAB_PHASES = np.array([0.0, 4.0, 8.25, 12.45, 16.65, 20.85])
#: First overtone: nearly a sine.
RRC_RATIOS = np.array([1.0, 0.16, 0.06])
RRC_PHASES = np.array([0.0, 4.9, 9.2])

#: A type Ia's flux in u g r i z y over its peak, so many days after the peak in g. g and r are
#: medians of the Bright Transient Survey's 1,117, which have few limits: what is earlier than 10 d
#: before the peak, and i, are those of SNPCC's nearest 130 in their own time and wavelength (its
#: models follow real ones: Kessler et al. 2010). u falls faster than g, z and y have the second
#: peak of i, higher (Jha et al. 2006; Folatelli et al. 2010).
IA_DAYS = np.array(
    [-17.5, -15, -10, -5, 0, 5, 10, 15, 20, 25, 30, 40, 50, 60, 80, 100, 150, 250, 400.0]
)
IA_FLUX = (
    np.array(
        [
            [0, 12, 55, 95, 97, 68, 40, 22, 13, 9, 7, 5, 4, 3.2, 2.2, 1.6, 0.8, 0.1, 0],
            [0, 10, 46, 82, 100, 86, 65, 45, 29, 21, 15, 9, 7, 5.8, 4.5, 3.6, 1.8, 0.3, 0],
            [0, 10, 46, 80, 97, 95, 76, 59, 51, 46, 40, 25, 17, 12.5, 7.5, 4.5, 2, 0.3, 0],
            [0, 16, 58, 97, 100, 80, 60, 57, 58, 57, 46, 31, 19, 15, 8, 4.5, 2, 0.3, 0],
            [0, 16, 58, 97, 100, 78, 58, 53, 56, 60, 54, 36, 23, 17, 9, 5, 2, 0.3, 0],
            [0, 16, 58, 97, 100, 80, 62, 60, 72, 80, 72, 45, 28, 20, 10, 5, 2, 0.3, 0],
        ]
    )
    / 100
)
#: Decline of a type II in u g r i z y, mag a day, in its first 30 days and after them; g and r by
#: the Bright Transient Survey's 209, others as in Anderson et al. 2014.
II_EARLY = (0.08, 0.028, 0.0095, 0.006, 0.005, 0.004)
II_LATE = (0.025, 0.016, 0.006, 0.003, 0.002, 0.002)


def harmonics(phase: Floats, ratios: Floats, phases: Floats) -> Floats:
    """Cosine series at `phase` (n,) in turns, scaled to mean 0 and range 1 (magnitudes)."""
    k = np.arange(1, len(ratios) + 1)

    def series(x: Floats) -> Floats:
        return np.cos(TURN * x[:, None] * k + phases) @ ratios

    return series(phase) / np.ptp(series(np.linspace(0, 1, 400)))


def contact_binary(phase: Floats, unequal: float) -> Floats:
    """EW: two nearly equal minima, no flat part. Magnitudes, range 1, mean about 0.

    Cosine terms of the flux as in Rucinski (1993, PASP 105, 1433): a4 is half of what divides
    contact from detached, a2 (0.125 - a2); `unequal` (0 to 0.3) makes the second minimum
    shallower.
    """
    a2 = -0.22
    a4 = 0.5 * a2 * (0.125 - a2)

    def magnitude(x: Floats) -> Floats:
        flux = 1 + a2 * np.cos(2 * TURN * x) + a4 * np.cos(4 * TURN * x)
        return -2.5 * np.log10(flux - unequal * 0.15 * np.cos(TURN * x))

    grid = magnitude(np.linspace(0, 1, 400))
    return np.asarray((magnitude(phase) - grid.mean()) / np.ptp(grid))


def eclipses(phase: Floats, width: float, second: float, shift: float, round_: float) -> Floats:
    """EA: flat, with an eclipse at phase 0 of depth 1 and one of depth `second` near 0.5.

    `width` (turns) is the half width of an eclipse, `shift` moves the second one (an eccentric
    orbit), `round_` is the range of the slow change outside eclipse. Magnitudes.
    """

    def dip(centre: float) -> Floats:
        away = np.abs((phase - centre + 0.5) % 1 - 0.5)
        return np.exp(-((away / width) ** 2.6))

    return dip(0) + second * dip(0.5 + shift) + 0.5 * round_ * np.cos(2 * TURN * phase)


def long_period(days: Floats, period: float, skew: float, beat: float, wobble: float) -> Floats:
    """LPV: a skewed wave whose height changes from cycle to cycle. Magnitudes, range about 1."""
    phase = days / period
    height = 1 + wobble * np.cos(TURN * phase / beat)
    return 0.5 * height * np.cos(TURN * phase + skew * np.sin(TURN * phase))


def spots(days: Floats, period: float, second: float, beat: float, angle: float) -> Floats:
    """Rotating (RS CVn): spots that drift and grow over `beat` days. Magnitudes, range about 1."""
    phase = days / period + 0.06 * np.sin(TURN * days / (1.7 * beat))
    height = 1 + 0.3 * np.sin(TURN * days / beat + angle)
    wave = np.cos(TURN * phase) + second * np.cos(2 * TURN * phase + angle)
    return 0.5 * height * wave / (1 + 0.5 * second)


def supernova_ia(days: Floats, band: int, stretch: float) -> Floats:
    """Flux of a type Ia around `days` (n,) from the peak in g, 1 at about the band's peak.

    Between IA_DAYS the root of IA_FLUX is interpolated: an early rise as the square of time.
    """
    root: Floats = np.interp(days / stretch, IA_DAYS, np.sqrt(IA_FLUX[band]))
    return root**2


def supernova_ii(days: Floats, band: int, plateau: float) -> Floats:
    """Flux of a type II around `days` from the peak, 1 at the peak.

    A rise of 10 d, a decline that is fast in blue bands for a month (II_EARLY) and slow for the
    rest of the `plateau` days (II_LATE), a drop of 2 mag into the radioactive tail.
    """
    rise = np.clip((days + 10) / 10, 0, 1) ** 1.5
    drop = 2.0 / (1 + np.exp(-(days - plateau) / 4))
    early, late = np.clip(days, 0, 30), np.clip(days, 30, plateau) - 30
    tail = 0.0098 * np.clip(days - plateau, 0, None)
    magnitude = II_EARLY[band] * early + II_LATE[band] * late + drop + tail
    return rise * 10 ** (-0.4 * magnitude)


def outbursts(days: Floats, cycle: float, length: float, seed: int) -> Floats:
    """CV: share (0 to 1) of the outburst's magnitudes reached; one outburst in each cycle.

    A rise of 1.5 d, a flat top of `length` days, a fall of 2 d a magnitude or so; begin and
    height vary from outburst to outburst.
    """
    number = np.floor(days / cycle)
    odd = _scatter(number, seed), _scatter(number, seed + 1)
    t = days - number * cycle - 0.3 * cycle * odd[0]
    up = np.clip(t / 1.5, 0, 1)
    down = np.clip(1 - (t - 1.5 - length) / 6, 0, 1)
    return (0.7 + 0.3 * odd[1]) * up * down


def flares(days: Floats, rate: float, seed: int) -> Floats:
    """Relative flux of an M dwarf's flares: sharp rise, double exponential fall.

    The fall follows the template of Davenport et al. (2014); one flare in each stretch of
    1 / `rate` days, with a steep distribution of heights (many small, few large).
    """
    number = np.floor(days * rate)
    start, height, width = (_scatter(number, seed + i) for i in range(3))
    t = (days - (number + 0.5 * start) / rate) / (0.02 + 0.06 * width)  # full widths at half height
    shape = 0.689 * np.exp(-1.6 * t) + 0.303 * np.exp(-0.2783 * t)
    return np.where(t > 0, shape, 0) * 0.05 * (1 - 0.98 * height) ** -1.0


def microlens(days: Floats, crossing: float, impact: float) -> Floats:
    """Magnification by a point lens (Paczynski 1986): Einstein time `crossing` d, `impact` > 0."""
    u2 = impact**2 + (days / crossing) ** 2
    return (u2 + 2) / np.sqrt(u2 * (u2 + 4))


def random_walk(days: Floats, timescale: float, seed: int) -> Floats:
    """AGN: a damped random walk of unit variance (Kelly et al. 2009), as a sum of 64 waves.

    Waves drawn from the walk's own power spectrum, so it is a function of time and needs no state.
    """
    rng = np.random.default_rng(seed)
    omega = np.abs(np.tan(np.pi * (rng.random(64) - 0.5))) / timescale  # Lorentzian: Cauchy draws
    angle = TURN * rng.random(64)
    waves = np.cos(np.outer(days, np.minimum(omega, 20.0)) + angle)
    return np.asarray(waves.sum(axis=1) * np.sqrt(2 / 64))


def _scatter(number: Floats, seed: int) -> Floats:
    """A fixed random value in [0, 1) of each whole `number`: the usual hash of GLSL shaders."""
    return np.modf(np.abs(np.sin(number * 12.9898 + (seed % 10007) * 78.233)) * 43758.5453)[0]
