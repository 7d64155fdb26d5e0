"""A network of transients as the stream runs it: from the columns of images to its inputs."""

from __future__ import annotations

import torch

from broker import course
from models.network import Network
from models.transients.inputs import Inputs
from models.transients.network import TransientNet, log_points

#: What it eats: counts (object, band, dm, dt) i4, course and numbers in one (object, number) f4,
#: and folds, of which there are none.
Eaten = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


class Streamed(Network):
    """A TransientNet that eats what the stream gives."""

    def __init__(self, net: TransientNet) -> None:
        super().__init__()
        self.net = net
        self.body = net.body
        self.head = net.head
        self.typical = net.typical

    @staticmethod
    def levels(counts: torch.Tensor, n: torch.Tensor, grid: tuple[int, int]) -> torch.Tensor:
        """Counts (object, band * cell) as images; the network itself levels them."""
        return counts.view(len(counts), -1, *grid)

    def hidden(self, eaten: Eaten) -> torch.Tensor:
        """What the last layer eats, (object, feature)."""
        return self.net.hidden(_inputs(eaten))

    def logits(self, hidden: torch.Tensor, eaten: Eaten) -> torch.Tensor:
        """Logits (object, class), calibrated."""
        found: torch.Tensor = self.net.calibration(self.head(hidden), log_points(_inputs(eaten)))
        return found


def _inputs(eaten: Eaten) -> Inputs:
    images, beside, _ = eaten
    shape = images.shape[1], len(course.NODES), 2
    end = torch.Size(shape).numel()
    return Inputs(images, beside[:, :end].view(-1, *shape), beside[:, end:])
