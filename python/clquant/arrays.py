"""Arrays of other packages as what the library reads: float32, dense, with a pointer."""

from __future__ import annotations

from typing import Any

import numpy as np

ORDERS = ("model", "nhwc")


def order_number(order: str) -> int:
    if order not in ORDERS:
        raise ValueError(f"order must be 'model' or 'nhwc', is {order!r}")
    return ORDERS.index(order)


def to_numpy(x: Any, name: str = "x") -> np.ndarray:
    """The array itself where it is one; a torch tensor's memory; anything else as numpy takes it."""
    if type(x) is np.ndarray:
        return x
    if isinstance(x, np.ma.MaskedArray):
        raise TypeError(f"{name}: is a masked array, of which networks would read what is masked, too; "
                        f"{name}.filled(0) decides what they read")
    if type(x).__module__.split(".")[0] == "torch" and hasattr(x, "detach"):
        x = x.detach()
        if x.dtype.is_floating_point and x.element_size() != 8:
            x = x.float()  # numpy has no bfloat16
        return x.cpu().numpy()
    if x is None or isinstance(x, (str, bytes)):
        raise TypeError(f"{name}: must be an array, is {type(x).__name__}")
    return np.asarray(x)


def to_float32(x: Any, name: str = "x") -> np.ndarray:
    """Floats of any width become float32; what is no float is refused, as it is most likely not normalized yet."""
    x = to_numpy(x, name)
    if x.dtype == np.float32:
        return x if x.dtype.isnative else x.astype(np.float32)
    if x.dtype.kind == "f" or x.dtype.name.startswith("bfloat16"):
        with np.errstate(over="ignore"):  # an infinity is refused, with its place, where it matters
            return x.astype(np.float32)
    raise TypeError(f"{name}: numbers of type {x.dtype} are no floats: networks read what their training normalized; "
                    f"{name}.astype('float32') feeds them as they are")


def dense(x: np.ndarray) -> np.ndarray:
    return x if x.flags.c_contiguous else np.ascontiguousarray(x)

