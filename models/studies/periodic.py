"""`nightjar study periodic`: what the network of periodic stars would gain, or lose, elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from broker.inputs import Channel
from models import cards, catalogue, forward, metrics
from models.catalogue import SEVEN, Catalogue
from models.evaluate import LENGTHS, predict
from models.forward import Forward
from models.fusion import CRTS
from models.periodic import by_survey, train
from models.periodic import sets as training
from models.periodic.fit import Recipe, fit
from models.periodic.network import CHANNEL, Periodic
from models.stars import read_stars
from models.studies import parts
from models.studies import sets as surveys
from models.studies.parts import Result, Say
from models.training import Epoch

#: What a stream must not know of a star, as it is the survey's: how bright it is, and how exact.
GIVEN = replace(CHANNEL, scalars=("mean_magnitude", "log_mean_error", *CHANNEL.scalars))
BANDS = "ugriz"
_QUICK = Recipe(epochs=1, copies=1, alike=40, threads=1)


@dataclass
class Study:
    """What all parts share: the sets, the seed, and whether it is but to see that it works."""

    data: Path
    seed: int = 0
    quick: bool = False
    device: str = "cpu"
    say: Say = field(default=lambda _: None)

    @property
    def settings(self) -> dict[str, Any]:
        """What results depend on."""
        shipped = cards.find("crts-periodic").weights_sha256
        return {"seed": self.seed, "recipe": str(self._recipe), "network": shipped}

    def parts(self) -> dict[str, Callable[[], Result]]:
        """All parts."""
        bands = {f"band/{name}": partial(self.band, name) for name in BANDS}
        networks = {"shipped": self.shipped, "nowhere": self.nowhere, "any": self.any}
        learned = {"given": self.given, "north": self.north, "place": self.place}
        return {**networks, **learned, **bands}

    def run(self, folder: Path, only: Iterable[str] = ()) -> dict[str, Result]:
        """All results, of this run and of those before it."""
        return parts.run(self.parts(), folder, self.settings, only, self.say)

    # Parts.

    def shipped(self) -> Result:
        """The network that the stream runs."""
        return self._by_length(self._shipped(CRTS))

    def nowhere(self) -> Result:
        """The same, not told where on the sky a star is."""
        blind = replace(self._south, sky=np.full_like(self._south.sky, np.nan))
        return self._by_length(self._shipped(CRTS), of=blind)

    def any(self) -> Result:
        """The same by its last layer for any survey."""
        return self._by_length(self._shipped())

    def given(self) -> Result:
        """One that is trained alike and given the mean magnitude and its error as well."""
        own = [self._south, self._survey("crts-north")]
        others = train.elsewhere(read_stars(self.data), self._recipe, self.seed)
        net, validation = self._learned([*own, *others], GIVEN)
        by_survey.catalina(net, GIVEN, own, validation, self.device, self.say)
        return self._by_length(forward.ready(net, GIVEN, self.device, survey=CRTS))

    def north(self) -> Result:
        """One that saw CRTS-N alone, asked of CRTS-S; classes as common as in all of CRTS-N."""
        north = self._survey("crts-north")
        net, _ = self._learned([north], CHANNEL)
        common = np.array(surveys.NORTH_STARS) / sum(surveys.NORTH_STARS)
        weight = common / training.proportions(north.label[north.training])
        return self._by_length(forward.ready(net, CHANNEL, self.device), weight)

    def place(self) -> Result:
        """What a place alone says of test stars of either survey, as either survey has taught it:
        log loss, of the shares of the classes first.
        """
        several = {"crts-south": self._south, "crts-north": self._survey("crts-north")}
        taught = {name: by_survey.settled([curves]) for name, curves in several.items()}
        result: Result = {}
        for name, curves in several.items():
            share = torch.from_numpy(training.proportions(curves.label[curves.training])).log()
            label, sky = curves.label[curves.test], curves.sky[curves.test]
            said = {of: population(sky) for of, population in taught.items()}
            result[name] = {
                of: metrics.measure((share + x).softmax(1).numpy(), label).log_loss
                for of, x in {"": torch.zeros(len(label), len(SEVEN)), **said}.items()
            }
        return result

    def band(self, name: str) -> Result:
        """RR Lyrae of SDSS Stripe 82, each band by itself, by the network that the stream runs."""
        stars = surveys.bands(self.data / "s82_rrlyrae.npz", name)[name].curves
        p = predict(self._shipped(), stars, np.arange(len(stars)), stars.n, ladder=False)
        result = parts.figures(metrics.measure(p, stars.label))
        result["points"] = float(np.median(stars.n))
        return result

    # What the parts share.

    @property
    def _recipe(self) -> Recipe:
        return _QUICK if self.quick else Recipe()

    def _shipped(self, survey: str = "") -> Forward:
        return forward.prepare(cards.find("crts-periodic"), self.device, (256,), survey=survey)

    @cached_property
    def _south(self) -> Catalogue:
        return self._survey("crts-south")

    def _survey(self, name: str) -> Catalogue:
        found = catalogue.read(self.data, name)
        if not self.quick:
            return found
        some = np.concatenate([np.flatnonzero(found.label == c)[:60] for c in range(len(SEVEN))])
        return found.cut(some, found.n[some])

    def _learned(
        self, several: Sequence[Catalogue], channel: Channel
    ) -> tuple[Periodic, training.Validation]:
        recipe, seed = self._recipe, self.seed
        examples = training.training(several, recipe.copies, channel, seed, self.say)
        validation = training.validation(several[0], channel)

        def told(epoch: Epoch) -> None:
            self.say(f"epoch {epoch.number} of {epoch.of}, {epoch.seconds:.0f} s")

        net = fit(examples, validation, recipe, channel, seed, self.device, told)
        return net, validation

    def _by_length(
        self,
        network: Forward,
        weight: NDArray[np.float64] | float = 1.0,
        of: Catalogue | None = None,
    ) -> Result:
        """Figures on the test stars of CRTS-S, whole and by their first points."""
        result: Result = {"classes": list(SEVEN)}
        south = of or self._south
        for points in (0, *LENGTHS):
            objects = south.test[south.n[south.test] >= max(points, 2)]
            if not len(objects):
                continue
            n = np.minimum(south.n[objects], points or np.iinfo(np.int64).max)
            p = predict(network, south, objects, n, ladder=bool(points)) * weight
            p /= p.sum(axis=1, keepdims=True)
            result[str(points)] = parts.figures(metrics.measure(p, south.label[objects]))
        return result
