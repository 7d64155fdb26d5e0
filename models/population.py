"""Where in the Galaxy a star stands, and how much commoner each class is there than elsewhere."""

from __future__ import annotations

import numpy as np
import torch
from numba import njit
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from broker.positions import on_sky, rounded
from models import likeliest

#: North pole of the Galaxy (right ascension, declination) and galactic longitude of the celestial
#: one, degrees of J2000 (Hipparcos catalogue, ESA SP-1200, volume 1, section 1.5.3).
_POLE, _NODE = (192.85948, 27.12825), 122.93192
#: x, a, x^2, xa, a^2 of `direction`. Third powers that were learned from one of Catalina's surveys
#: say worse than nothing of the other; these say better.
TERMS = 5
#: So strongly weights are drawn to 0: as one star's evidence would.
_PENALTY = 1.0


class Population(nn.Module):
    """How much commoner each class is at a place: its share there over its share everywhere.

    RR Lyrae are of the halo and the bulge, long-period variables of the bulge, binaries of the
    disc. The Galaxy is taken to be alike north and south of its plane, and on both sides of the
    line to its centre: what one survey's sky teaches is true of another's.

    Parameters
    ----------
    classes : int
    """

    weight: torch.Tensor

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.register_buffer("weight", torch.zeros(TERMS + 1, classes))

    def forward(self, sky: NDArray[np.float64]) -> torch.Tensor:
        """Logarithms (star, class) f4 for places (star, 2), see `commoner`."""
        return torch.from_numpy(commoner(sky, self.weight.numpy()))

    def fit(self, sky: NDArray[np.float64], label: torch.Tensor, odds: torch.Tensor) -> None:
        """Learn from stars of known class; the loss is convex.

        Parameters
        ----------
        sky : (star, 2) f8
            Right ascension and declination, degrees; stars without are left out, and if none has
            any nothing is learned.
        label : (star,) i8
        odds : (star, class) f4
            Logarithm of each class's share in the star's survey: what commoner is held against.
        """
        seen = known(sky)
        if not seen.any():
            return
        terms = torch.from_numpy(np.stack([_terms(*place) for place in sky[seen].tolist()]))
        label, odds = label[seen], odds[seen]
        weight = torch.zeros(self.weight.shape, requires_grad=True)

        def loss() -> torch.Tensor:
            wrong = functional.cross_entropy(terms @ weight + odds, label)
            return wrong + _PENALTY * weight[1:].square().sum() / len(label)

        likeliest.fit(loss, [weight], 300)
        self.weight.copy_(weight.detach())


@njit(cache=True, nogil=True)
def direction(ra: float, dec: float) -> tuple[float, float]:
    """Cosine of the angle to the centre of the Galaxy, and |sin b|, of a place in degrees (J2000).

    >>> x, a = direction(266.405, -28.936)
    >>> round(x, 3), round(a, 3)
    (1.0, 0.0)
    """
    d, pole = np.radians(dec), np.radians(_POLE[1])
    along = np.radians(ra - _POLE[0])
    sin_b = np.sin(d) * np.sin(pole) + np.cos(d) * np.cos(pole) * np.cos(along)
    # cos b times sine and cosine of the longitude as counted from the celestial pole's.
    across = np.cos(d) * np.sin(along)
    up = np.sin(d) * np.cos(pole) - np.cos(d) * np.sin(pole) * np.cos(along)
    node = np.radians(_NODE)
    return up * np.cos(node) + across * np.sin(node), abs(sin_b)


@njit(cache=True, nogil=True)
def _terms(ra: float, dec: float) -> NDArray[np.float32]:
    """1, then TERMS, (term,) f4: of a place."""
    x, a = direction(rounded(ra), rounded(dec))
    return np.array([1.0, x, a, x * x, x * a, a * a], np.float32)


@njit(cache=True, nogil=True)
def known(sky: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Whether it is known (star,) where on the sky (star, 2) stars are."""
    return np.array([on_sky(sky[i, 0], sky[i, 1]) for i in range(len(sky))], np.bool_)


@njit(cache=True, nogil=True)
def commoner(sky: NDArray[np.float64], weight: NDArray[np.float32]) -> NDArray[np.float32]:
    """What a `Population` says of places.

    Parameters
    ----------
    sky : (star, 2) f8
        Right ascension and declination, degrees of J2000; NaN where they are not known.
    weight : (term, class) f4

    Returns
    -------
    (star, class) f4
        Natural logarithms; 0 where no place is known.
    """
    seen, found = known(sky), np.zeros((len(sky), weight.shape[1]), np.float32)
    for i in range(len(sky)):
        if seen[i]:
            terms = _terms(sky[i, 0], sky[i, 1])
            for t in range(len(terms)):
                for c in range(weight.shape[1]):
                    found[i, c] += terms[t] * weight[t, c]
    return found
