"""Cutout images of noise: a small pool in the sizes of the real ones, cheap to draw from."""

from __future__ import annotations

import gzip

import numpy as np

POOL = 12
BLOCK = 2880  # FITS files are made of blocks of this many bytes


def fits(pixels: np.ndarray) -> bytes:
    """A minimal FITS image of float32 `pixels` (rows, columns): a header and data, in blocks."""
    rows, columns = pixels.shape
    cards = [
        "SIMPLE  =                    T / conforms to FITS standard",
        "BITPIX  =                  -32 / array data type",
        "NAXIS   =                    2 / number of array dimensions",
        f"NAXIS1  = {columns:20d}",
        f"NAXIS2  = {rows:20d}",
        "END",
    ]
    header = "".join(card.ljust(80) for card in cards).encode()
    data = pixels.astype(">f4").tobytes()
    return header.ljust(BLOCK) + data + bytes(-len(data) % BLOCK)


def ztf_stamps(rng: np.random.Generator) -> tuple[list[bytes], list[bytes], list[bytes]]:
    """Gzipped 63 x 63 stamps: science, template, difference; 12 to 15 kB each as in real packets.

    The sky level leaves fewer random bits in a science pixel's exponent than in a difference's.
    """
    y, x = np.mgrid[-31:32, -31:32]
    star = np.exp(-(x**2 + y**2) / 2.5)

    def stamp(level: float, sigma: float, peak: float) -> bytes:
        pixels = level + rng.normal(0, sigma, star.shape) + peak * star
        return gzip.compress(fits(pixels), mtime=0)

    def pool(level: float, sigma: float, peak: float) -> list[bytes]:
        return [stamp(level, sigma, peak * rng.random()) for _ in range(POOL)]

    return pool(200, 8, 4000), pool(120, 2, 4000), pool(0, 9, 600)


def lsst_stamps(rng: np.random.Generator) -> list[tuple[bytes, bytes, bytes]]:
    """Uncompressed stamps (difference, science, template) of one size each: 34 to 80 kB.

    Sides as in real packets: most 90 pixels or little more, the template's larger.
    """
    out = []
    for number in range(POOL):
        side = (89, 89, 89, 95, 103, 127)[number % 6]
        larger = (103, 103, 101, 111, 117, 137)[number % 6]
        images = (rng.normal(0, 25, (n, n)) for n in (side, side, larger))
        difference, science, template = (fits(image) for image in images)
        out.append((difference, science, template))
    return out
