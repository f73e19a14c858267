"""OpenCL devices."""

from __future__ import annotations

import json
import os
import threading
import weakref
from typing import Any, Dict, List, Optional

from . import _native
from ._native import NULL, check, ffi, lib, text
from .errors import UsageError


def take_result(pointer) -> Any:
    """The JSON of a result, which is freed."""
    value = json.loads(text(lib.clq_result_json(pointer[0])))
    lib.clq_result_free(pointer[0])
    return value


_FORKED = ("OpenCL does not survive a fork: use devices in one process only, or start others by "
           "multiprocessing.get_context('spawn')")
_open: "weakref.WeakSet[Device]" = weakref.WeakSet()


class _Lost:
    """In the place of the lock of a device that another process opened, whose threads are not here."""

    def __enter__(self) -> None:
        raise UsageError(_FORKED)

    def __exit__(self, *_) -> None:
        pass


def _forked() -> None:
    _native.forked = _native.used
    for device in _open:
        device._lock, device._lost = _Lost(), True


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)


def _begin() -> None:
    """Before OpenCL is first called."""
    if _native.forked:
        raise UsageError(_FORKED)
    _native.used = True


def devices() -> List[Dict[str, Any]]:
    """The OpenCL devices here, a dict each: ``id`` ("0:1", what :class:`Device` takes), ``name``, ``type``, ..."""
    _begin()
    result = ffi.new("clq_result **")
    check(lib.clq_devices_describe(result))
    return take_result(result)


class Device:
    """A device, open. Models on one device take turns; models on two devices may run in two threads at once.

    selector: "cpu", "gpu", "0:1" or part of a name; None: what ``CLQUANT_DEVICE`` says, else the first GPU, else the
    CPU. Two devices may be opened of one piece of hardware.
    """

    def __init__(self, selector: Optional[str] = None) -> None:
        self._pointer = None
        self._lock: Any = threading.RLock()
        self._lost = False
        self._unused: List[Any] = []  # sessions of models that were dropped while another thread worked
        if selector is not None and not isinstance(selector, str):
            raise TypeError(f"selector must be a text, such as \"cpu\", is {type(selector).__name__}")
        _begin()
        pointer = ffi.new("clq_device **")
        check(lib.clq_device_open(NULL if selector is None else selector.encode(), pointer))
        self._pointer = pointer[0]
        _open.add(self)

    def _take(self):
        if self._pointer is None:
            raise UsageError("the device is closed")
        return self._pointer

    def _sweep(self) -> None:
        """With the lock held."""
        while self._unused:
            lib.clq_session_destroy(self._unused.pop())

    @property
    def info(self) -> Dict[str, Any]:
        """Name, driver, dot-product paths, memory (bytes), ..."""
        with self._lock:
            result = ffi.new("clq_result **")
            check(lib.clq_device_describe(self._take(), result))
            return take_result(result)

    def close(self) -> None:
        """No model can be made on it any more; those that are there keep it open as long as they live."""
        with self._lock:
            self._sweep()
            pointer, self._pointer = self._pointer, None
            if pointer is not None:
                lib.clq_device_close(pointer)

    def __del__(self) -> None:
        if hasattr(self, "_unused") and lib is not None and not self._lost:
            self.close()

    def __enter__(self) -> "Device":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def __reduce_ex__(self, _protocol: Any) -> Any:
        raise TypeError("a Device cannot be copied or pickled; Device(selector) opens another")

    def __repr__(self) -> str:
        if self._pointer is None or self._lost:
            return f"<clquant.Device, {'of another process' if self._lost else 'closed'}>"
        info = self.info
        return f"<clquant.Device {info['id']} {info['name']}, dot products by {info['dot_path']}>"


_default: Optional[Device] = None
_default_lock = threading.Lock()


def default_device() -> Device:
    """The device that models are on where none is said, opened when it is first asked for."""
    global _default
    with _default_lock:
        if _default is None or _default._pointer is None:
            _default = Device()
        return _default
