"""Networks of DMDT images alone: from Catalina's curves to a network, and what its card says."""

from __future__ import annotations

from dataclasses import replace

from broker.inputs import Channel
from models import catalogue, crts, fit, known
from models.evaluate import scores
from models.examples import GRID
from models.fit import Recipe
from models.periodic import sets
from models.trained import Order, Trained

#: What they eat.
CHANNEL = Channel(GRID.name, "total", ("detection", "forced"))
#: Eight shapes and three recipes were tried for crts-rows, compared on the validation part; but the
#: test figures of two earlier recipes had been seen when the third was made, so those on its card
#: may be a little too good.
ROWS = Recipe("rows", 24, 128, 1.5e-3, 0.01, cosine=True)
#: The paper's network, at the paper's step.
SHALLOW = Recipe("shallow", 28, 128, 2e-4)


def train(recipe: Recipe, order: Order) -> Trained:
    """Train on the southern survey; `order.data` holds crts_south.npz."""
    recipe = replace(recipe, epochs=order.epochs or recipe.epochs)
    curves = catalogue.read(order.data)
    net, best = fit.fit(curves, recipe, order.seed, order.device, order.progress)
    facts = {
        "data": f"{crts.SOUTH}, crts_south.npz",
        "objects": len(curves.training),
        "proportions": sets.proportions(curves.label[curves.training]).round(4).tolist(),
        "curves": "whole 40 %, first part 35 %, first part of one point a night 25 %",
        "optimizer": f"AdamW, step {recipe.step}{' on a cosine' if recipe.cosine else ''}, "
        f"decay {recipe.weight_decay}, batch {recipe.batch}, mean of weights {fit.EMA_DECAY}",
        "epochs": recipe.epochs,
        "best_epoch": best,
    }
    return Trained(
        net,
        crts.declare(order.card, recipe.network, CHANNEL, min_points=5),
        facts,
        crts.used([curves]),
        lambda card: scores(card, curves, order.device),
        lambda card: known.write(order.data, card, order.seed),
    )
