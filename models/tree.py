"""A tree of networks: one label for each alert, whose probabilities are those of all its leaves."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from broker.clock import now_ms
from broker.records import REASONS, SURVEYS, Images, Labels
from models.classifier import Classifier
from models.tree_cards import Limb, TreeCard

OUT_OF_DOMAIN = REASONS.index("out_of_domain")


class Tree:
    """Labels as one network does: P(leaf) = P(class of the root) P(leaf | class of the root).

    Where a class does not branch, or the network that it branches to says nothing of the alert, its
    share stays with the class itself; a class that was shared out has 0.

    Parameters
    ----------
    card : TreeCard
    networks : mapping
        The classifier of each of the card's networks, by its name.
    clock : callable
        Unix time in ms, for `Labels.classified_ms`.
    """

    def __init__(
        self,
        card: TreeCard,
        networks: Mapping[str, Classifier],
        clock: Callable[[], int] = now_ms,
    ) -> None:
        self.card = card
        self._of = {c.name: networks[c.name] for c in card.networks}
        self._clock = clock
        self._classes, self._class_ids = card.classes, card.class_ids
        self._columns = {
            c.name: [self._classes.index(name) for name in c.classes] for c in card.networks
        }
        self._weights_hash, self._grid_hash = card.weights_sha256, str(card.inputs.hash)
        self._params = f"{card.params} {self._assumes()}"

    @property
    def device(self) -> str:
        """That of the networks; of both where only some lost theirs."""
        return "+".join(sorted({network.device for network in self._of.values()}))

    @property
    def precision(self) -> str:
        return self._of[self.card.root.name].precision

    def classify(self, images: Images) -> Labels:
        """Label any number of images; those that are not named carry a reason.

        The reason is the root's; of a survey that the tree does not know it is out_of_domain.
        Novelty is that of the network which the root's most probable class branches to, or the
        root's own where there is none or it says nothing. The grid's hash is that of all inputs.

        Raises
        ------
        ValueError
            What an image holds does not fit what a network's channel declares.
        """
        survey, reason = images.images["survey"], images.images["reason"].copy()
        open_ = reason == 0
        reason[open_] = OUT_OF_DOMAIN
        probabilities = np.full((len(reason), len(self._classes)), np.nan, np.float32)
        novelty = np.full(len(reason), np.nan, np.float32)
        for name, limb in self.card.limbs.items():
            here = open_ & (survey == SURVEYS.index(name))
            if here.any():
                self._grow(limb, images, here, reason, probabilities, novelty)
        return Labels(
            images=images,
            reason=reason,
            probabilities=probabilities,
            novelty=novelty,
            classes=self._classes,
            class_ids=self._class_ids,
            conditional_on=self.card.conditional_on,
            gated=True,
            classifier=self.card.classifier,
            params=f"{self._params} device={self.device} precision={self.precision}",
            weights_hash=self._weights_hash,
            grid_hash=self._grid_hash,
            classified_ms=self._clock(),
        )

    def _grow(
        self,
        limb: Limb,
        images: Images,
        here: NDArray[np.bool_],
        reason: NDArray[np.uint8],
        probabilities: NDArray[np.float32],
        novelty: NDArray[np.float32],
    ) -> None:
        """Fill in the rows `here`, which are of one survey."""
        root, strange = self._ask(limb.root.name, images, here)
        reason[here], novelty[here] = root.reason[here], strange[here]
        named = here & (root.reason == 0)
        probabilities[named] = 0
        likeliest = root.probabilities.argmax(axis=1)
        for i, (name, column) in enumerate(
            zip(limb.root.classes, self._columns[limb.root.name], strict=True)
        ):
            share, stays = root.probabilities[:, i], named
            if name in limb.branches:
                of = limb.branches[name].name
                branch, strange = self._ask(of, images, named)
                spoke = named & (branch.reason == 0)
                parts = share[spoke, None] * branch.probabilities[spoke]
                probabilities[np.ix_(spoke, self._columns[of])] += parts
                first = spoke & (likeliest == i)
                novelty[first] = strange[first]
                stays = named & ~spoke
            probabilities[stays, column] += share[stays]

    def _ask(
        self, network: str, images: Images, here: NDArray[np.bool_]
    ) -> tuple[Labels, NDArray[np.float32]]:
        """What a network says of these rows, and how strange they are to it."""
        rows = images.images.copy()
        rows["reason"][~here] = OUT_OF_DOMAIN  # the others are not looked at
        labels = self._of[network].classify(replace(images, images=rows))
        assert labels.novelty is not None
        return labels, labels.novelty

    def _assumes(self) -> str:
        """Proportions that are assumed: at the root, then in each network that it branches to."""
        limbs = self.card.limbs
        said = {survey: self._of[limb.root.name].assumes for survey, limb in limbs.items()}
        if len(set(said.values())) == 1:
            said = {"": self._of[self.card.root.name].assumes}
        for limb in limbs.values():
            said |= {card.name: self._of[card.name].assumes for card in limb.branches.values()}
        return " ".join(f"{of}{'.' if of else ''}assumes={what}" for of, what in said.items())
