"""The simulated sky: objects of many kinds, where they are, and their true flux at any time."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from broker import shapes
from broker.shapes import Floats

KINDS = (
    "RRab",
    "RRc",
    "EW",
    "EA",
    "LPV",
    "rotating",
    "SN Ia",
    "SN II",
    "CV",
    "AGN",
    "microlensing",
    "flare",
    "solar_system",
    "bogus",
)
PERIODIC = KINDS[:6]
TRANSIENTS = ("SN Ia", "SN II")
#: What a simulation holds if nothing else is asked: shares of the objects. `solar_system` and
#: `bogus` come as alerts of their own (broker.packets.Shares).
MIX: Mapping[str, float] = {
    "RRab": 0.18,
    "RRc": 0.13,
    "EW": 0.17,
    "EA": 0.10,
    "LPV": 0.08,
    "rotating": 0.10,
    "SN Ia": 0.05,
    "SN II": 0.04,
    "CV": 0.04,
    "AGN": 0.05,
    "microlensing": 0.03,
    "flare": 0.03,
}

#: One object. `magnitude` is the mean (of a transient the peak) per band ugrizy, AB; `host` the
#: magnitude per band of the galaxy beside or under a transient, NaN for none; `distance` (arcsec)
#: to the nearest source of the reference image; `stellar` that source's star-galaxy score.
OBJECT = np.dtype(
    [
        ("kind", "u1"),
        ("area", "i4"),
        ("ra", "f8"),
        ("dec", "f8"),
        ("period", "f8"),
        ("amplitude", "f8"),
        ("epoch", "f8"),
        ("distance", "f8"),
        ("stellar", "f8"),
        ("seed", "i8"),
        ("magnitude", "f8", 6),
        ("host", "f8", 6),
        ("shape", "f8", 4),
    ]
)

#: Magnitudes relative to r in u g r i z y, and the amplitude per band relative to CRTS's
#: (about V): RR Lyrae from Sesar et al. 2010, the rest rounded from stars of the type.
COLOURS = {
    "RRab": (1.3, 0.2, 0.0, -0.05, -0.05, -0.05),
    "RRc": (1.2, 0.05, 0.0, 0.05, 0.08, 0.1),
    "EW": (2.2, 0.55, 0.0, -0.2, -0.3, -0.35),
    "EA": (1.8, 0.4, 0.0, -0.12, -0.2, -0.2),
    "LPV": (4.0, 1.6, 0.0, -1.4, -2.1, -2.4),
    "rotating": (2.5, 0.75, 0.0, -0.3, -0.42, -0.5),
    "SN Ia": (0.6, -0.05, 0.0, 0.25, 0.4, 0.4),
    "SN II": (0.2, 0.0, 0.0, 0.05, 0.1, 0.1),
    "CV": (-0.1, 0.1, 0.0, -0.1, -0.2, -0.2),
    "AGN": (0.4, 0.15, 0.0, -0.05, -0.05, -0.1),
    "microlensing": (2.3, 0.65, 0.0, -0.25, -0.35, -0.4),
    "flare": (4.0, 1.5, 0.0, -1.3, -1.9, -2.2),
}
GALAXY = (2.0, 0.7, 0.0, -0.35, -0.6, -0.7)
SWINGS = {
    "RRab": (1.1, 1.15, 0.85, 0.68, 0.62, 0.6),
    "RRc": (1.1, 1.15, 0.85, 0.68, 0.62, 0.6),
    "LPV": (1.3, 1.2, 0.9, 0.6, 0.5, 0.45),
    "rotating": (1.2, 1.1, 0.92, 0.8, 0.75, 0.7),
    "AGN": (1.2, 1.1, 0.95, 0.85, 0.8, 0.75),
}


def draw(
    count: int,
    rng: np.random.Generator,
    start_mjd: float,
    nights: int,
    mix: Mapping[str, float] = MIX,
    fainter: float = 0.0,
) -> NDArray[np.void]:
    """Draw `count` objects, kinds in the shares of `mix`; returns (count,) OBJECT.

    Periods and amplitudes are distributed as in the periodic-variable catalogues of the Catalina
    surveys (Drake et al. 2014, 2017). Positions, areas and distances to reference sources are the
    imaging's to set. `fainter` (magnitudes) moves everything to a deeper survey's range.

    Raises
    ------
    ValueError
        `mix` names a kind that is not in KINDS.
    """
    if unknown := set(mix) - set(COLOURS):
        msg = (
            f"no such kind of object: {', '.join(sorted(unknown))}; there are {', '.join(COLOURS)}"
        )
        raise ValueError(msg)
    shares = np.array(list(mix.values()), dtype=float)
    # Whole numbers nearest to the shares, so that few objects already hold every kind.
    edges = np.rint(np.cumsum(shares / shares.sum()) * count).astype(int)
    names = np.repeat(list(mix), np.diff(edges, prepend=0))
    sky = np.zeros(count, OBJECT)
    for row, name in zip(sky, rng.permutation(names), strict=True):
        row["kind"] = KINDS.index(name)
        row["seed"] = rng.integers(1 << 40)
        row["host"] = np.nan
        row["distance"], row["stellar"] = rng.rayleigh(0.15), 1 - rng.exponential(0.02)
        r = _character(row, str(name), rng, start_mjd, nights) + fainter
        row["magnitude"] = r + np.array(COLOURS[name]) + rng.normal(0, 0.05, 6)
        row["host"] += fainter
    sky["distance"] = np.clip(sky["distance"], 0, 25)
    return sky


def _character(
    row: np.void, name: str, rng: np.random.Generator, start: float, nights: int
) -> float:
    """Set period, amplitude, epoch, shape (and host) of one object; returns its r magnitude."""
    uniform = rng.uniform
    row["epoch"] = start + uniform(0, 1000)
    row["shape"] = rng.random(4)
    shape = row["shape"]
    if name == "RRab":
        row["period"] = np.clip(rng.normal(0.585, 0.065), 0.45, 0.75)
        bailey = 0.95 - 1.6 * (row["period"] - 0.58)  # longer periods have smaller amplitudes
        row["amplitude"] = np.clip(bailey + rng.normal(0, 0.14), 0.5, 1.2)
        return float(uniform(15.4, 18.3))
    if name == "RRc":
        row["period"] = np.clip(rng.normal(0.328, 0.036), 0.25, 0.42)
        row["amplitude"] = np.clip(rng.normal(0.45, 0.06), 0.3, 0.6)
        return float(uniform(14.5, 17.5))
    if name == "EW":
        row["period"] = np.clip(rng.lognormal(np.log(0.34), 0.22), 0.22, 0.7)
        row["amplitude"] = np.clip(rng.lognormal(np.log(0.45), 0.38), 0.2, 0.95)
        shape[0] *= 0.3
        return float(uniform(14.0, 17.2))
    if name == "EA":
        row["period"] = np.clip(rng.lognormal(np.log(1.05), 0.65), 0.5, 6)
        row["amplitude"] = np.clip(rng.lognormal(np.log(0.6), 0.4), 0.3, 1.8)
        shape[:] = (0.0, 0.1 + 0.85 * shape[1], 0.03 * (shape[2] - 0.5), 0.05 * shape[3])
        # Radii of stars of one kind: the share of the orbit spent in eclipse falls as P^(-2/3).
        shape[0] = np.clip(uniform(0.045, 0.07) * row["period"] ** (-2 / 3), 0.015, 0.08)
        return float(uniform(13.8, 17.2))
    if name == "LPV":
        row["period"] = np.clip(rng.lognormal(np.log(260), 0.4), 100, 500)
        row["amplitude"] = np.clip(rng.lognormal(np.log(1.7), 0.5), 0.8, 4)
        shape[:] = (-0.6 * shape[0], 2.5 + 4 * shape[1], 0.3 * shape[2], 0)
        return float(uniform(13.2, 16.5))
    if name == "rotating":
        row["period"] = np.exp(uniform(np.log(1), np.log(30)))
        row["amplitude"] = np.clip(rng.lognormal(np.log(0.2), 0.3), 0.1, 0.4)
        shape[:] = (0.35 * shape[0], 60 + 240 * shape[1], shapes.TURN * shape[2], 0)
        return float(uniform(14.0, 16.8))
    if name in TRANSIENTS:
        row["epoch"] = start + uniform(10, max(11.0, 0.8 * nights))
        shape[0] = rng.normal(1, 0.1) if name == "SN Ia" else uniform(70, 115)
        row["host"] = uniform(15.5, 20.5) + np.array(GALAXY)
        row["stellar"], row["distance"] = 0.02 + 0.16 * shape[1], rng.exponential(3.0)
        if shape[2] < 0.15:  # no galaxy seen
            row["host"], row["distance"], row["stellar"] = np.nan, 99.0, 0.5
        return float(uniform(15.3, 18.3))
    if name == "CV":
        row["period"] = uniform(25, 80)  # mean time between outbursts
        row["amplitude"] = uniform(2.5, 4.5)
        shape[0] = uniform(3, 12)
        return float(uniform(18.5, 20.3))
    if name == "AGN":
        row["amplitude"], row["period"] = uniform(0.12, 0.3), np.nan
        shape[0] = np.exp(uniform(np.log(60), np.log(500)))
        row["stellar"] = uniform(0.1, 0.95)
        return float(uniform(15.8, 18.3))
    if name == "microlensing":
        row["epoch"] = start + uniform(0.2, 0.8) * nights
        row["period"], row["amplitude"] = np.nan, np.nan
        shape[:2] = np.exp(uniform(np.log(12), np.log(50))), uniform(0.05, 0.6)
        return float(uniform(15.5, 18.3))
    row["period"], row["amplitude"] = np.nan, np.nan  # flare
    shape[0] = uniform(0.8, 3.0)  # a day
    return float(uniform(14.5, 17.5))


def njy(magnitude: Floats | float) -> Floats:
    """AB magnitude to nanojansky, zero point 31.4 (NaN stays NaN)."""
    return 10 ** (-0.4 * (np.asarray(magnitude, dtype=float) - 31.4))


def host_flux(source: np.void, band: int) -> float:
    """Flux (nJy) of the galaxy that lies under the object in the same point spread function."""
    blended = np.isfinite(source["host"][band]) and source["distance"] < 1.4
    return float(njy(source["host"][band])) if blended else 0.0


def true_flux(source: np.void, mjd: Floats, band: int) -> Floats:
    """Total true flux (nJy) at the object's place, host included.

    Parameters
    ----------
    source : one row of OBJECT.
    mjd : (n,) f8, TAI.
    band : index into ``ugrizy`` (the first six of records.BANDS).
    """
    name, shape, seed = KINDS[source["kind"]], source["shape"], int(source["seed"])
    days = np.asarray(mjd, dtype=float) - source["epoch"]
    mean, period = njy(source["magnitude"][band]), float(source["period"])
    if name in TRANSIENTS:
        curve = shapes.supernova_ia if name == "SN Ia" else shapes.supernova_ii
        return host_flux(source, band) + mean * curve(days, band, shape[0])
    if name == "microlensing":
        return mean * shapes.microlens(days, shape[0], shape[1])
    if name == "flare":
        # A flare is a hot spot: against the cool star it is brightest in the blue.
        return mean * (1 + (30, 4, 1, 0.4, 0.2, 0.15)[band] * shapes.flares(days, shape[0], seed))
    if name in ("RRab", "RRc"):
        ratios, phases = (
            (shapes.RRAB_RATIOS, shapes.RRAB_PHASES)
            if name == "RRab"
            else (shapes.RRC_RATIOS, shapes.RRC_PHASES)
        )
        # Every star a little its own: higher terms up to 12 % stronger or weaker.
        own = ratios * (1 + 0.24 * (shape[0] - 0.5)) ** np.arange(len(ratios))
        change = shapes.harmonics(days / period, own, phases)
    elif name == "EW":
        change = shapes.contact_binary(days / period, shape[0])
    elif name == "EA":
        change = shapes.eclipses(days / period, shape[0], shape[1], shape[2], shape[3])
    elif name == "LPV":
        change = shapes.long_period(days, period, shape[0], shape[1], shape[2])
    elif name == "rotating":
        change = shapes.spots(days, period, shape[0], shape[1], shape[2])
    elif name == "CV":
        change = -shapes.outbursts(days, period, shape[0], seed)
    elif name == "AGN":
        change = shapes.random_walk(days, shape[0], seed)
    else:
        return np.zeros_like(days)  # bogus and moving objects have no star
    swing = SWINGS.get(name, (1.0,) * 6)[band]
    return mean * 10 ** (-0.4 * swing * float(source["amplitude"]) * change)
