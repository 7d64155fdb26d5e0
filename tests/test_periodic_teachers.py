"""A network heeds its teachers as far as its recipe says."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from test_periodic_examples import survey

from models import training
from models.catalogue import SEVEN
from models.periodic import sets
from models.periodic.fit import Recipe, heard, learn
from models.periodic.network import CHANNEL, Periodic

TRUE, TAUGHT = 0, 3


@pytest.mark.parametrize(("heed", "named"), [(0.0, TRUE), (0.3, TRUE), (0.9, TAUGHT)])
def test_what_is_said_is_what_most_of_the_loss_asks_for(heed: float, named: int) -> None:
    made = sets.training([survey([TRUE] * 12, 1)], 1, CHANNEL, 0, lambda _: None)
    torch.manual_seed(0)
    usual, _ = next(made.epoch(np.random.default_rng(0), 64))
    net, mean, teacher = (Periodic(CHANNEL, len(SEVEN)) for _ in range(3))
    for each in (net, mean, teacher.eval()):
        each.learn(usual.eaten())
    with torch.no_grad():
        teacher.head.bias[TAUGHT] = 20.0
    recipe = Recipe(heed=heed, batch=4, step=3e-3, mean_decay=0.5)
    optimizer = training.adamw(net, recipe.step, recipe.weight_decay)
    for epoch in range(20):
        drawn = made.epoch(np.random.default_rng(epoch), recipe.batch)
        learn(net, mean, [teacher], made, drawn, (epoch, 20), recipe, optimizer)
    _, logits, _ = heard(mean, made.kinds[0][0], "cpu")
    assert (logits.argmax(1) == named).all()
    # Where both are asked for, both are said, as likely as the loss has them.
    share = logits.softmax(1).mean(0)
    assert share[TAUGHT].item() == pytest.approx(heed, abs=0.1)
    assert share[TRUE].item() == pytest.approx(1 - heed, abs=0.1)
