"""Training that was broken off goes on after its last whole epoch, to the same weights."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn


def save(
    path: Path,
    title: str,
    epoch: int,
    networks: Mapping[str, nn.Module],
    optimizer: torch.optim.Optimizer,
) -> None:
    """Write how training stands after an epoch; the file is there whole, or as it was.

    Parameters
    ----------
    title : str
        What makes this training this one: recipe, seed, data …
    """
    tensors = {
        f"{name}/{key}": value
        for name, net in networks.items()
        for key, value in net.state_dict().items()
    }
    for number, moments in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer/{number}/{key}": value for key, value in moments.items()}
    beside = path.with_suffix(".new")
    path.parent.mkdir(parents=True, exist_ok=True)
    told = {"title": title, "epoch": str(epoch)}
    save_file({key: t.contiguous().cpu() for key, t in tensors.items()}, beside, told)
    beside.replace(path)


def load(
    path: Path,
    title: str,
    networks: Mapping[str, nn.Module],
    optimizer: torch.optim.Optimizer,
) -> int:
    """Put networks and optimizer where `save` left them.

    Returns
    -------
    int
        How many epochs are done: 0, and nothing is changed, if there is no file.

    Raises
    ------
    ValueError
        The file is of another training.
    """
    if not path.is_file():
        return 0
    with safe_open(path, "pt") as file:
        told = file.metadata()
        if told["title"] != title:
            msg = f"{path} is of another training ({told['title']}, not {title}): remove it"
            raise ValueError(msg)
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    for name, net in networks.items():
        net.load_state_dict({key: tensors[f"{name}/{key}"] for key in net.state_dict()})
    whole = optimizer.state_dict()
    moments: dict[int, dict[str, torch.Tensor]] = {}
    for key, tensor in tensors.items():
        kind, _, rest = key.partition("/")
        if kind == "optimizer":
            number, _, name = rest.partition("/")
            moments.setdefault(int(number), {})[name] = tensor
    optimizer.load_state_dict({**whole, "state": moments})
    return int(told["epoch"])
