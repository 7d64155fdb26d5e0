"""`nightjar study transients`: how well supernovae are named where the easy test says too much."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from models import cards, metrics, splits
from models.curve_files import LABELS
from models.studies import parts
from models.studies.parts import Result, Say
from models.transients import examples, figures, gate, inputs, reality, sets, train
from models.transients.curves import Curves
from models.transients.examples import CLASSES, EYES
from models.transients.fit import fit, probabilities
from models.transients.network import TransientNet, read

#: The challenge's spectroscopic sample is a twentieth of SNPCC: so many times as many epochs.
_SPECTROSCOPIC = 8
#: Sets that train no network of ours, and the network that is asked.
ELSEWHERE = {"mallorn": "lsst", "elasticc2_sample": "lsst", "tde_ztf": "ztf", "ztf_bts": "ztf"}


@dataclass
class Study:
    """What all parts share: the sets, the seed, how long to train (None: each recipe's own)."""

    data: Path
    seed: int = 0
    epochs: int | None = None
    device: str = "cpu"
    say: Say = field(default=lambda _: None)

    @property
    def settings(self) -> dict[str, Any]:
        """What results depend on."""
        names = [f"{kind}-{survey}" for kind in ("transients", "gate") for survey in EYES]
        networks = [cards.find(name).weights_sha256 for name in names]
        return {"seed": self.seed, "epochs": self.epochs, "networks": networks}

    def parts(self) -> dict[str, Callable[[], Result]]:
        """All parts."""
        return {
            "bts": self.out_of_fold,
            "snpcc": self.challenge,
            **{f"gate/{survey}": partial(self.gate, survey) for survey in EYES},
            **{f"gate/{survey}/real": partial(self.reality, survey) for survey in EYES},
            **{name: partial(self.elsewhere, name) for name in ELSEWHERE},
        }

    def run(self, folder: Path, only: Iterable[str] = ()) -> dict[str, Result]:
        """All results, of this run and of those before it."""
        return parts.run(self.parts(), folder, self.settings, only, self.say)

    # Parts.

    def out_of_fold(self) -> Result:
        """BTS, each object named by a network that did not see its fifth."""
        these = examples.named(sets.read(self.data, "ztf_bts"))
        label = examples.places(these)

        def learn(others: Curves, part: int) -> TransientNet:
            self.say(f"  fifth {part + 1}")
            return self._network("ztf", others, self.seed + part)

        p = figures.out_of_fold(these, learn)
        share = examples.proportions(these)
        result: Result = {"classes": list(CLASSES)}
        for tau in (0.0, figures.TAU):
            q = metrics.adjusted(p, share, tau)
            found = figures.interval(q, label)
            words = {"low": found.low, "high": found.high}
            result[str(tau)] = parts.figures(metrics.measure(q, label)) | words
        return result

    def challenge(self) -> Result:
        """SNPCC's three classes: the shipped network, and one of spectroscopic types."""
        net = read(cards.find("transients-lsst"))
        result: Result = {"test": self._three(net, figures.snpcc_test(self.data))}
        these = sets.read(self.data, "snpcc")
        typed = sets.spectroscopic(self.data)
        learner = examples.named(these.take(np.flatnonzero(typed)))
        hard = self._network("lsst", learner, self.seed, _SPECTROSCOPIC)
        others = examples.named(these.take(np.flatnonzero(~typed)))
        result["spectroscopic"] = self._three(hard, others)
        result["learned"] = len(learner)
        return result

    def gate(self, survey: str) -> Result:
        """A gate that sees fluxes beside one to which all are alike."""
        result: Result = {}
        for name, blind in (("seeing", False), ("blind", True)):
            sky = gate.read_sky(self.data, survey, blind)
            recipe = replace(gate.RECIPE, epochs=self.epochs or gate.RECIPE.epochs)
            net = fit(gate.learned(sky, self.seed), EYES[survey], recipe, self.seed, self.device)
            result[name] = {
                str(score.points): {
                    key: getattr(score, key)
                    for key in ("objects", "auc", "hardest", "ece", "recall", "giants")
                }
                for score in gate.scores(net, sky, self.seed)
            }
        return result

    def reality(self, survey: str) -> Result:
        """What the shipped gate calls real sources, and such as none of its trainings saw."""
        net = read(cards.find(f"gate-{survey}"))
        return {
            name: [
                asdict(found) | {"named": found.named.tolist()}
                for found in reality.ask(net, self.data, name)
            ]
            for name in reality.SETS[survey]
        }

    def elsewhere(self, name: str) -> Result:
        """A set that the shipped network never saw: names of known classes, oddness of others."""
        survey = ELSEWHERE[name]
        card = cards.find(f"transients-{survey}")
        net, channel = read(card), card.channel
        these = sets.read(self.data, name).entering(channel)
        these = these.take(np.flatnonzero((these.n >= 3) & these.detected))
        own = sets.read(self.data, gate.LENDERS[survey]).entering(channel)
        own = examples.named(own.take(np.flatnonzero(splits.test(own.split))))
        result: Result = {"unseen": {}}
        named = examples.named(these)
        if len(named) and name != gate.LENDERS[survey]:
            p = probabilities(net, inputs.make(named, net.eye))
            result["named"] = parts.figures(metrics.measure(p, examples.places(named)))
        for number, word in LABELS["transients"].items():
            some = these.take(np.flatnonzero(these.label == number))
            if number not in examples.PLACES and len(some) >= 10:
                score = figures.unseen(net, own, some)
                result["unseen"][word] = {"objects": len(some), "auc": score}
        return result

    # What the parts share.

    def _network(self, survey: str, source: Curves, seed: int, times: int = 1) -> TransientNet:
        bright = examples.superluminous(self.data, EYES[survey], source, seed)
        recipe = train.RECIPES[survey]
        recipe = replace(recipe, epochs=self.epochs or recipe.epochs * times)
        learned = train.supernovae(survey, source, bright, seed)
        return fit(learned, EYES[survey], recipe, seed, self.device)

    def _three(self, net: TransientNet, curves: Curves) -> Result:
        return {
            str(days): parts.figures(m) | {"auc": float(m.auc[0])}
            for days, m in figures.snpcc(net, curves).items()
        }
