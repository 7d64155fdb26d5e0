"""A GPU where there is none: PyTorch computes all on the CPU, but tensors that a program has put on
a "cuda" device are told apart from the others, and may no more meet them than real ones may.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.multiprocessing.reductions import StorageWeakRef
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map

_CUDA, _CPU = torch.device("cuda", 0), torch.device("cpu")
#: They take a tensor of the other side and copy it.
_CROSSING = (
    torch.Tensor.copy_,
    torch.Tensor.__setitem__,
    torch.Tensor.data.__set__,
    torch._has_compatible_shallow_copy_type,
)


class TwoSides(TorchFunctionMode):
    """While it is entered, "cuda" is a device.

    Raises
    ------
    RuntimeError, TypeError
        Where PyTorch would with a real one: tensors of both sides meet, or NumPy is to read one of
        the other side.
    """

    def __init__(self) -> None:
        super().__init__()
        # Weak references: what they stand for may go, its address is not given to another.
        self._there: dict[int, StorageWeakRef] = {}

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        if func == torch.Tensor.device.__get__:
            return _CUDA if self.there(args[0]) else func(*args)
        if func in (torch.Tensor.to, torch.Tensor.cpu):
            return self._moved(func, args, kwargs)
        there = [self.there(t) for t in self._tensors((args, kwargs))]
        if name in ("numpy", "__array__") and there[0]:
            msg = "can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() first"
            raise TypeError(msg)
        if any(there) and func not in _CROSSING:
            self._check(func, args, kwargs)
        wanted = kwargs.get("device")
        if wanted is not None:
            kwargs = {**kwargs, "device": _CPU}
        result = func(*args, **kwargs)
        crossing = func in _CROSSING
        if (wanted and torch.device(wanted).type == "cuda") or (any(there) and not crossing):
            for t in self._tensors(result):
                self._put(t)
        return result

    def there(self, tensor: torch.Tensor) -> bool:
        """Whether a tensor is on the other side."""
        return tensor.untyped_storage()._cdata in self._there

    def _moved(self, func: Any, args: tuple[Any, ...], kwargs: Any) -> Any:
        asked = [a for a in (*args[1:], *kwargs.values()) if isinstance(a, (str, torch.device))]
        if func is torch.Tensor.cpu:
            asked = [_CPU]
        plain = (args, kwargs)
        if asked and func is torch.Tensor.to:
            here = tree_map(lambda a: _CPU if isinstance(a, (str, torch.device)) else a, plain)
            plain = (args[:1] + here[0][1:], here[1])
        before, result = self.there(args[0]), func(*plain[0], **plain[1])
        after = torch.device(asked[0]).type == "cuda" if asked else before
        if after != before:
            result = result.clone()
        if after:
            self._put(result)
        return result

    def _check(self, func: Any, args: tuple[Any, ...], kwargs: Any) -> None:
        """Numbers of the CPU may come along, and there indexes too."""
        if func is torch.Tensor.__getitem__ and self.there(args[0]):
            return
        here = [t for t in self._tensors((args, kwargs)) if not self.there(t) and t.dim()]
        if here:
            msg = f"{func}: expected all tensors to be on the same device, found cuda:0 and cpu"
            raise RuntimeError(msg)

    def _put(self, tensor: torch.Tensor) -> None:
        storage = tensor.untyped_storage()
        self._there[storage._cdata] = StorageWeakRef(storage)

    @staticmethod
    def _tensors(of: Any) -> list[torch.Tensor]:
        return [leaf for leaf in tree_leaves(of) if isinstance(leaf, torch.Tensor)]
