"""A light curve's flux on fixed days, with how well it is known there: a Gaussian process whose
cost grows with the number of points, not with its cube.

A Matérn process of order 3/2 is a state of two numbers, flux and slope, driven by noise
(Hartikainen & Särkkä 2010, MLSP): a Kalman filter forwards and a Rauch-Tung-Striebel smoother
backwards give the same mean and variance as the matrix of all points would.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray


@njit(cache=True, nogil=True)
def smooth(
    time: NDArray[np.float64],
    flux: NDArray[np.float64],
    error: NDArray[np.float64],
    nodes: NDArray[np.float64],
    scale: float,
    amplitude: float,
    mean: NDArray[np.float64],
    deviation: NDArray[np.float64],
) -> float:
    """Posterior mean and standard deviation of the flux at the nodes.

    Parameters
    ----------
    time : (point,) f8
        Days, in order.
    flux, error : (point,) f8
        Errors above 0.
    nodes : (node,) f8
        Days, in order.
    scale : float
        Length of the kernel (1 + r) exp(-r), r = sqrt(3) dt / scale; days.
    amplitude : float
        Standard deviation of the process, which has mean 0; unit of the flux.
    mean, deviation : (node,) f8
        Filled in place.

    Returns
    -------
    float
        How far each point lay from what those before it foretold: the sum of squares in units of
        the expected deviation, about one a point for a curve as smooth as the process.
    """
    points, steps = len(time), len(time) + len(nodes)
    surprise = 0.0
    if steps == 0:
        return surprise
    rate = np.sqrt(3.0) / scale
    p0 = amplitude * amplitude
    v0 = p0 * rate * rate
    # What the backward pass needs of each step: filtered and predicted state and covariance.
    kept = np.empty((steps, 14))
    which = np.empty(steps, np.int64)
    x = v = 0.0
    pxx, pxv, pvv = p0, 0.0, v0
    i = k = 0
    last = 0.0
    for step in range(steps):
        at_node = i == points or (k < len(nodes) and nodes[k] < time[i])
        now = nodes[k] if at_node else time[i]
        dt = now - last if step > 0 else 0.0
        last = now
        decay = np.exp(-rate * dt)
        a, b = decay * (1.0 + rate * dt), decay * dt
        c, d = -decay * rate * rate * dt, decay * (1.0 - rate * dt)
        # Predicted: F x, and F (P - P0) F' + P0.
        qxx, qxv, qvv = pxx - p0, pxv, pvv - v0
        rxx, rxv = a * qxx + b * qxv, a * qxv + b * qvv
        rvx, rvv = c * qxx + d * qxv, c * qxv + d * qvv
        nx, nv = a * x + b * v, c * x + d * v
        # P F' of the step before: the smoother's gain is this times the predicted inverse.
        kept[step, 0], kept[step, 1] = pxx * a + pxv * b, pxx * c + pxv * d
        kept[step, 2], kept[step, 3] = pxv * a + pvv * b, pxv * c + pvv * d
        pxx, pxv, pvv = rxx * a + rxv * b + p0, rxx * c + rxv * d, rvx * c + rvv * d + v0
        x, v = nx, nv
        kept[step, 4], kept[step, 5] = x, v
        kept[step, 6], kept[step, 7], kept[step, 8] = pxx, pxv, pvv
        if at_node:
            which[step] = k
            k += 1
        else:
            which[step] = -1
            total = pxx + error[i] * error[i]
            gx, gv = pxx / total, pxv / total
            off = flux[i] - x
            surprise += off * off / total
            x += gx * off
            v += gv * off
            pvv -= gv * pxv
            pxv -= gx * pxv
            pxx -= gx * pxx
            i += 1
        kept[step, 9], kept[step, 10] = x, v
        kept[step, 11], kept[step, 12], kept[step, 13] = pxx, pxv, pvv
    # Backwards: x, v, P now hold the smoothed state of `step`.
    for step in range(steps - 1, -1, -1):
        if which[step] >= 0:
            mean[which[step]] = x
            deviation[which[step]] = np.sqrt(max(pxx, 0.0))
        if step == 0:
            break
        mxx, mxv, mvv = kept[step, 6], kept[step, 7], kept[step, 8]
        determinant = mxx * mvv - mxv * mxv
        ixx, ixv, ivv = mvv / determinant, -mxv / determinant, mxx / determinant
        g00 = kept[step, 0] * ixx + kept[step, 1] * ixv
        g01 = kept[step, 0] * ixv + kept[step, 1] * ivv
        g10 = kept[step, 2] * ixx + kept[step, 3] * ixv
        g11 = kept[step, 2] * ixv + kept[step, 3] * ivv
        dx, dv = x - kept[step, 4], v - kept[step, 5]
        dxx, dxv, dvv = pxx - mxx, pxv - mxv, pvv - mvv
        x, v = kept[step - 1, 9] + g00 * dx + g01 * dv, kept[step - 1, 10] + g10 * dx + g11 * dv
        pxx = kept[step - 1, 11] + g00 * (g00 * dxx + g01 * dxv) + g01 * (g00 * dxv + g01 * dvv)
        pxv = kept[step - 1, 12] + g10 * (g00 * dxx + g01 * dxv) + g11 * (g00 * dxv + g01 * dvv)
        pvv = kept[step - 1, 13] + g10 * (g10 * dxx + g11 * dxv) + g11 * (g10 * dxv + g11 * dvv)
    return surprise
