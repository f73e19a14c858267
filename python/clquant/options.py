"""Keyword arguments and paths as the library takes them."""

from __future__ import annotations

import json
import os
from typing import Any, Mapping, Union

from ._native import check, ffi, lib
from .errors import UsageError

Path = Union[str, "os.PathLike[str]"]


def path_bytes(path: Path) -> bytes:
    """What the system calls the file."""
    name = os.fsencode(path)
    if b"\0" in name:
        raise UsageError(f"a path has no zero bytes: {path!r}")
    return name


def _plain(value: Any) -> Any:
    """Of numpy's scalars and arrays, and paths."""
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    raise TypeError(f"options hold numbers, texts, lists and dicts, no {type(value).__name__}")


class Options:
    """Options of the library from keyword arguments, as long as the ``with`` lasts; those that are None are not said."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        pointer = ffi.new("clq_options **")
        check(lib.clq_options_create(pointer))
        self.pointer = pointer[0]
        try:
            for key, value in options.items():
                if "\0" in key:
                    raise UsageError(f"an option's name has no zero bytes: {key!r}")
                if value is not None:
                    try:
                        words = json.dumps(value, default=_plain, allow_nan=False)
                    except ValueError as error:
                        raise UsageError(f"{key}: must be finite numbers, texts, lists and dicts: {error}") from None
                    check(lib.clq_options_set(self.pointer, key.encode(), words.encode()))
        except BaseException:
            self.__exit__()
            raise

    def __enter__(self) -> "Options":
        return self

    def __exit__(self, *_) -> None:
        lib.clq_options_destroy(self.pointer)
