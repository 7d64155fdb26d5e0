"""What a star does at one frequency: gains, harmonics, shape, steadiness."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from broker.harmonics import LANES, MOST_HARMONICS, Weighted, fit, sums

#: Gains are shares of the variance, "left" is 1 minus the gain of most harmonics. Phases are those
#: against the first harmonics, weighted by the ratio of the amplitudes: nothing where nothing is.
_WHOLE = (
    *("gain_1", "gain_2", "gain_4", "log_left", "amplitude", "ratio_2", "ratio_3", "ratio_4"),
    *("cos_2", "sin_2", "cos_3", "sin_3"),
)
#: The same at half the frequency, as eclipsing binaries need it; the gain at a quarter of it.
_HALF = (
    *("half_gain_4", "half_gain_6", "half_log_left", "quarter_gain_6"),
    *(f"half_share_{k}" for k in range(1, MOST_HARMONICS + 1)),
    *("half_cos_1", "half_sin_1", "half_cos_3", "half_sin_3"),
)
_SHAPE = ("minimum", "second_minimum", "maximum", "second_maximum", "minima_apart", "faint_share")
_STEADY = (
    *("coherence", "unsteadiness", "half_coherence", "half_unsteadiness"),
    *("roughness", "half_roughness"),
)
WAVE = ("log_frequency", *_WHOLE, *_HALF, *_SHAPE, *_STEADY)
#: Where these begin.
_AT_HALF = 1 + len(_WHOLE)
_AT_SHAPE = _AT_HALF + len(_HALF)
_AT_STEADY = _AT_SHAPE + len(_SHAPE)
_QUARTERS = 4


@njit(cache=True, nogil=True)
def _roughness(
    days: NDArray[np.float64], value: NDArray[np.float64], variance: float, per_day: float
) -> float:
    """Mean square step from phase to phase, in variances: 2 for noise, 0 for a smooth fold."""
    n = len(days)
    phase = days * per_day
    phase -= np.floor(phase)
    order = np.argsort(phase, kind="mergesort")
    steps = 0.0
    for i in range(n):
        steps += (value[order[i]] - value[order[i - 1]]) ** 2
    return steps / n / variance


@njit(cache=True, nogil=True)
def _steadiness(
    weight: NDArray[np.float64], value: NDArray[np.float64], turn: NDArray[np.complex128]
) -> tuple[float, float]:
    """Whether a wave keeps its phase from quarter to quarter of the points, and its amplitude.

    Spots come and go, binaries turn on: |sum of the quarters' waves| / sum of their moduli, and the
    scatter of the moduli over their mean.
    """
    n = len(value)
    moduli = np.zeros(_QUARTERS)
    together = complex(0.0, 0.0)
    for q in range(_QUARTERS):
        begin, end = n * q // _QUARTERS, n * (q + 1) // _QUARTERS
        w = wy = wc = ws = ycos = ysin = cc = ss = cs = 0.0
        for i in range(begin, end):
            w += weight[i]
            wy += weight[i] * value[i]
            wc += weight[i] * turn[i].real
            ws += weight[i] * turn[i].imag
        my, mc, ms = wy / w, wc / w, ws / w
        for i in range(begin, end):
            c, s, y = turn[i].real - mc, turn[i].imag - ms, value[i] - my
            ycos += weight[i] * y * c
            ysin += weight[i] * y * s
            cc += weight[i] * c * c
            ss += weight[i] * s * s
            cs += weight[i] * c * s
        cc += 0.05 * w
        ss += 0.05 * w
        det = cc * ss - cs * cs
        wave = complex(ycos * ss - ysin * cs, ysin * cc - ycos * cs) / det
        moduli[q] = abs(wave)
        together += wave
    mean = moduli.sum() / _QUARTERS
    if mean <= 0:
        return 0.0, 0.0
    scatter = np.sqrt(((moduli - mean) ** 2).sum() / _QUARTERS)
    return abs(together) / _QUARTERS / mean, scatter / mean


@njit(cache=True, nogil=True)
def _shape(solution: NDArray[np.float64], sd: float, out: NDArray[np.float64]) -> None:
    """Minima and maxima of a fitted curve over 64 phases, in sd from its mean level."""
    size = 64
    curve = np.zeros(size)
    for k in range(1, MOST_HARMONICS + 1):
        for i in range(size):
            angle = 2 * np.pi * k * i / size
            curve[i] += solution[2 * k - 1] * np.cos(angle) + solution[2 * k] * np.sin(angle)
    low, high = int(curve.argmax()), int(curve.argmin())  # the faintest has the largest magnitude
    second_low, second_high = -1e9, 1e9
    at = low
    for i in range(size):
        from_low, from_high = abs(i - low), abs(i - high)
        if min(from_low, size - from_low) >= size // 5 and curve[i] > second_low:
            second_low, at = curve[i], i
        if min(from_high, size - from_high) >= size // 5 and curve[i] < second_high:
            second_high = curve[i]
    out[0], out[1] = curve[low] / sd, second_low / sd
    out[2], out[3] = curve[high] / sd, second_high / sd
    apart = abs(at - low) / size
    out[4] = min(apart, 1 - apart)
    middle = (curve[low] + curve[high]) / 2
    out[5] = (curve > middle).sum() / size


@njit(cache=True, nogil=True)
def _waves(solution: NDArray[np.float64]) -> NDArray[np.complex128]:
    """Harmonic k as one number: its cosine's amplitude and, imaginary, its sine's; 0 of none."""
    waves = np.zeros(MOST_HARMONICS + 1, np.complex128)
    for k in range(1, MOST_HARMONICS + 1):
        waves[k] = complex(solution[2 * k - 1], solution[2 * k])
    return waves


@njit(cache=True, nogil=True)
def _at_frequency(
    table: NDArray[np.float32], total: float, square: float, out: NDArray[np.float64]
) -> None:
    """Fill what stands in _WHOLE from the sums of lane 1."""
    sd = np.sqrt(square / total)
    solution = np.zeros(2 * MOST_HARMONICS + 1)
    out[0] = fit(table, 1, 1, total, solution) / square
    out[1] = fit(table, 1, 2, total, solution) / square
    out[2] = fit(table, 1, 4, total, solution) / square
    out[3] = np.log(max(1 - out[2], 1e-4))
    wave = _waves(solution)
    first = abs(wave[1]) + 1e-9 * sd
    out[4] = first / sd
    for k in range(2, 5):
        out[3 + k] = min(abs(wave[k]) / first, 3.0)
    turned = wave[1] / first
    for k in range(2, 4):
        turned *= wave[1] / first
        phase = wave[k] * turned.conjugate() / max(first, abs(wave[k]))
        out[4 + 2 * k], out[5 + 2 * k] = phase.real, phase.imag


@njit(cache=True, nogil=True)
def _at_half(
    table: NDArray[np.float32],
    total: float,
    square: float,
    solution: NDArray[np.float64],
    out: NDArray[np.float64],
) -> None:
    """Fill what stands in _HALF from the sums of lanes 0 and 2; the solution is of lane 0."""
    out[3] = fit(table, 2, 6, total, solution) / square
    out[0] = fit(table, 0, 4, total, solution) / square
    out[1] = fit(table, 0, 6, total, solution) / square
    out[2] = np.log(max(1 - out[1], 1e-4))
    wave = _waves(solution)
    norm = 1e-6 * np.sqrt(square / total)
    for k in range(1, MOST_HARMONICS + 1):
        norm = np.hypot(norm, abs(wave[k]))
    wave /= norm
    for k in range(1, MOST_HARMONICS + 1):
        out[3 + k] = abs(wave[k])
    # These two do not change if the curve is turned by half a turn, which no one can tell.
    second = wave[2].conjugate()
    one, three = wave[1] * wave[1] * second, wave[3] * wave[3] * second * second * second
    out[10], out[11], out[12], out[13] = one.real, one.imag, three.real, three.imag


@njit(cache=True, nogil=True)
def describe(
    curve: Weighted,
    per_day: float,
    table: NDArray[np.float32],
    out: NDArray[np.float64],
    residual: NDArray[np.float64],
) -> None:
    """Measure what stands in WAVE.

    Parameters
    ----------
    curve : Weighted
    per_day : float
        The frequency.
    table
        Room for `broker.harmonics.sums`.
    out : (len(WAVE),) f8
        Filled in place.
    residual : (point,) f8
        Filled in place: what six harmonics of half the frequency leave of the values.
    """
    days, total, square = curve.days, curve.total, curve.square
    at = np.full(LANES, per_day / 2)
    at[1], at[2] = per_day, per_day / 4
    sums(curve, at, MOST_HARMONICS, table)
    solution = np.zeros(2 * MOST_HARMONICS + 1)
    out[0] = np.log(per_day)
    _at_frequency(table, total, square, out[1:_AT_HALF])
    _at_half(table, total, square, solution, out[_AT_HALF:_AT_SHAPE])
    _shape(solution, np.sqrt(square / total), out[_AT_SHAPE:_AT_STEADY])
    n = len(days)
    half, whole = np.empty(n, np.complex128), np.empty(n, np.complex128)
    wave = _waves(solution)
    for i in range(n):
        turn = days[i] * per_day / 2
        angle = 2 * np.pi * (turn - np.floor(turn))
        half[i] = complex(np.cos(angle), np.sin(angle))
        whole[i] = half[i] * half[i]
        residual[i] = curve.value[i] - solution[0]
        turned = complex(1.0, 0.0)
        for k in range(1, MOST_HARMONICS + 1):
            turned *= half[i]
            residual[i] -= wave[k].real * turned.real + wave[k].imag * turned.imag
    steady = out[_AT_STEADY:]
    steady[0], steady[1] = _steadiness(curve.weight, curve.value, whole)
    steady[2], steady[3] = _steadiness(curve.weight, curve.value, half)
    steady[4] = _roughness(days, curve.value, square / total, per_day)
    steady[5] = _roughness(days, curve.value, square / total, per_day / 2)
