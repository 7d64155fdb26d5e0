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
    """Flux of a type Ia around `days` (n,) from the peak in g, 1 at about the peak.

    Fast rise from -17 d, decline by 1 mag in 15 d that slows into an exponential tail; red bands
    peak later, i to y have their second bump about 25 d later (Hamuy et al. 1996).
    """
    t = days / stretch - (0.0, 0.0, 1.5, -1.0, -1.5, -2.0)[band]
    rise = np.clip((t + 17) / 17, 0, None) ** 2
    fall = np.exp(-0.5 * (t / (9.0, 11.0, 14.0, 13.0, 12.0, 12.0)[band]) ** 2)
    tail = 0.30 * np.exp(-(t - 25) / 45) / (1 + np.exp(-(t - 17) / 3))
    bump = (0.0, 0.0, 0.18, 0.35, 0.4, 0.4)[band] * np.exp(-0.5 * ((t - 25) / 7) ** 2)
    return np.where(
        t < 0,
        np.minimum(rise, 1) * np.exp(-0.5 * (np.clip(t, -17, 0) / 14) ** 2),
        fall + tail + bump,
    )


def supernova_ii(days: Floats, band: int, plateau: float) -> Floats:
    """Flux of a type II around `days` from the peak, 1 at the peak.

    A rise of 8 d, a plateau of `plateau` days that falls faster in blue bands, a drop of 2 mag
    into the radioactive tail (Anderson et al. 2014).
    """
    slope = (0.05, 0.018, 0.007, 0.004, 0.003, 0.003)[band]  # mag a day
    rise = np.clip((days + 8) / 8, 0, 1) ** 1.5
    drop = 2.0 / (1 + np.exp(-(days - plateau) / 4))
    magnitude = slope * np.clip(days, 0, plateau) + drop + 0.0098 * np.clip(days - plateau, 0, None)
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
