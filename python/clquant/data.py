"""What networks are fed with, as the library takes it: a path, or arrays."""

from __future__ import annotations

import os
from typing import Any, Dict, Iterator, List, Mapping, Optional, Tuple

import numpy as np

from ._native import NULL, check, ffi, lib
from .arrays import dense, order_number, to_float32, to_numpy
from .errors import UsageError
from .options import path_bytes
from .model import Model
from .progress import running

Batch = Tuple[Dict[str, np.ndarray], Optional[np.ndarray]]


def _is_array(x: Any) -> bool:
    return isinstance(x, np.ndarray) or hasattr(x, "__array__") or hasattr(x, "detach")


def _to_labels(labels: Any) -> np.ndarray:
    """Class numbers as floats, which hold them exactly."""
    labels = to_numpy(labels, "labels")
    if labels.ndim != 1 or labels.dtype.kind not in "iuf":
        raise TypeError(f"labels: must be (N,) numbers of classes, are {labels.dtype} {labels.shape}")
    return np.ascontiguousarray(labels, dtype=np.float32)


def _split(model: Model, batch: Any) -> Batch:
    """Inputs by name, and labels: of a tensor, a dict, or either with labels as the second of two."""
    labels = None
    names = [spec.name for spec in model.inputs]
    if isinstance(batch, (tuple, list)):
        if len(batch) == 2 and (len(names) == 1 or isinstance(batch[0], Mapping)):
            batch, labels = batch
        elif len(batch) == 1:
            batch = batch[0]
        elif len(batch) == len(names):
            batch = dict(zip(names, batch))
    if not isinstance(batch, Mapping):
        if len(names) > 1:
            raise UsageError(f"a batch must be a dict with the inputs {', '.join(names)}")
        batch = {names[0]: batch}
    arrays = {str(name): to_float32(array, str(name)) for name, array in batch.items()}
    return arrays, None if labels is None else _to_labels(labels)


def _known_rows(batches: Any) -> Optional[int]:
    """How many samples a loader gives in all; None: it does not say."""
    source = getattr(batches, "sampler", None)  # torch's says which of the dataset's are taken
    if source is None:
        source = getattr(batches, "dataset", None)
    elif getattr(batches, "batch_size", None) is None:
        return None  # batches of a sampler of their own
    if not hasattr(source, "__len__"):
        return None
    rows = len(source)
    return rows - rows % (batches.batch_size or 1) if getattr(batches, "drop_last", False) else rows


class _Rows:
    """Arrays one after another, copied, as a loader may fill the same memory again."""

    def __init__(self, first: np.ndarray, expected: int) -> None:
        self.array = np.empty((max(expected, len(first)), *first.shape[1:]), first.dtype)
        self.count = 0

    def add(self, part: np.ndarray) -> None:
        if part.shape[1:] != self.array.shape[1:]:
            raise UsageError(f"batches must differ in their first dimension only; {part.shape} follows "
                             f"(N, {', '.join(map(str, self.array.shape[1:]))})")
        end = self.count + len(part)
        if end > len(self.array):
            grown = np.empty((max(end, 2 * len(self.array)), *part.shape[1:]), part.dtype)
            grown[:self.count] = self.array[:self.count]
            self.array = grown
        self.array[self.count:end] = part
        self.count = end


def _take(model: Model, batches: Any, limit: Optional[int], expected: int) -> Batch:
    """The first `limit` samples of an iterable, in memory; so many are `expected`, 0: it is not known."""
    taken: Dict[Optional[str], _Rows] = {}  # None: labels
    while_fewer = limit if limit is not None else float("inf")
    for batch in batches:
        arrays, labels = _split(model, batch)
        parts: Dict[Optional[str], np.ndarray] = {**arrays, **({} if labels is None else {None: labels})}
        if any(part.ndim == 0 for part in parts.values()):
            raise UsageError("a batch has its samples along the first dimension, and this one has no dimensions")
        if not taken:
            taken = {name: _Rows(part, expected) for name, part in parts.items()}
        if parts.keys() != taken.keys():
            raise UsageError("all batches must have the same inputs, and labels or none")
        for name, part in parts.items():
            taken[name].add(part)
        if next(iter(taken.values())).count >= while_fewer:
            break
    if not taken:
        raise UsageError("there are no batches")
    joined = {name: rows.array[:rows.count][:limit] for name, rows in taken.items()}
    labels = joined.pop(None, None)
    return joined, labels


class _Stream:
    """Rows of an iterable of batches, in their order, batch by batch."""

    def __init__(self, model: Model, batches: Any, first: Batch, names: List[str], rows: int) -> None:
        self.model, self.batches, self.names, self.rows = model, batches, names, rows
        self.labelled = first[1] is not None
        self.iterator: Optional[Iterator] = None
        self.next = 0
        self.left: List[np.ndarray] = []

    def more(self) -> None:
        self.left = [array.copy() for array in self.left]  # the loader may fill the same memory again
        batch = next(self.iterator, None)
        if batch is None:
            raise UsageError("there are fewer samples than len() said")
        arrays, labels = _split(self.model, batch)
        new = [arrays[name] for name in self.names] + ([labels] if self.labelled else [])
        self.left = [np.concatenate(pair) for pair in zip(self.left, new)] if self.left else new

    def fill(self, first: int, count: int, values) -> None:
        if first != self.next or self.iterator is None:
            if first:
                raise UsageError("an iterable gives its samples in their order only")
            self.iterator, self.left, self.next = iter(self.batches), [], 0
        while not self.left or len(self.left[0]) < count:
            self.more()
        for i, array in enumerate(self.left):
            part = dense(array[:count])
            ffi.memmove(values[i], part, part.nbytes)
            self.left[i] = array[count:]
        self.next += count
        if self.next == self.rows and (len(self.left[0]) or next(self.iterator, None) is not None):
            raise UsageError("there are more samples than len() said")


class Data:
    """What a piece of work is fed with, open as long as the ``with`` lasts."""

    def __init__(self, model: Model, data: Any, labels: Any, order: str, limit: Optional[int], stream: bool,
                 work: running) -> None:
        self.path, self.arrays = NULL, NULL
        self.keep: List[Any] = []
        self.order = order_number(order)
        self.shapes = model._ends[self.order][0]
        try:
            if data is None:
                pass  # work that can do without says so
            elif isinstance(data, (str, bytes, os.PathLike)):
                self._open_path(path_bytes(data), labels)
            elif isinstance(data, Mapping) or _is_array(data) or (isinstance(data, tuple) and len(data) == 2
                                                                  and _is_array(data[0])):
                arrays, own = _split(model, data)
                self._add(arrays, own if labels is None else _to_labels(labels))
            else:
                self._open_batches(model, data, labels, limit, stream, work)
        except BaseException:
            self.__exit__()
            raise

    def _open_path(self, path: bytes, labels: Any) -> None:
        if labels is not None:
            raise UsageError("labels: what a path names has its own")
        if path.endswith((b".npy", b".npz")):
            pointer = ffi.new("clq_arrays **")
            check(lib.clq_arrays_open(path, pointer))
            self.arrays = pointer[0]
        else:
            self.path = ffi.new("char[]", path)

    def _check(self, arrays: Dict[str, np.ndarray]) -> int:
        """Shapes here, as an array's memory must not be read past its end; the number of samples."""
        counts = set()
        for spec in self.shapes:
            if spec.name not in arrays:
                raise UsageError(f"the inputs are {', '.join(s.name for s in self.shapes)}; given are "
                                 f"{', '.join(arrays)}")
            array = arrays[spec.name]
            if array.ndim == 0 or array.shape[1:] != spec.shape:
                raise UsageError(f"{spec.name}: must be (N, {', '.join(map(str, spec.shape))}), is {array.shape}")
            counts.add(len(array))
        if len(counts) != 1 or 0 in counts:
            raise UsageError(f"all inputs must have as many samples, and at least one; they have {sorted(counts)}")
        return counts.pop()

    def _create(self, rows: int) -> None:
        pointer = ffi.new("clq_arrays **")
        check(lib.clq_arrays_create(rows, pointer))
        self.arrays = pointer[0]
        check(lib.clq_arrays_set_order(self.arrays, self.order))

    def _add_array(self, name: str, shape: Tuple[int, ...], values: Any) -> None:
        check(lib.clq_arrays_add(self.arrays, name.encode(), ffi.new("int64_t[]", shape or (1,)), len(shape), values))

    def _add(self, arrays: Dict[str, np.ndarray], labels: Optional[np.ndarray]) -> None:
        rows = self._check(arrays)
        self._create(rows)
        for spec in self.shapes:
            array = dense(arrays[spec.name])
            self.keep.append(array)
            self._add_array(spec.name, spec.shape, ffi.from_buffer("float *", array))
        if labels is not None:
            if len(labels) != rows:
                raise UsageError(f"labels: there are {len(labels)} for {rows} samples")
            self.keep.append(labels)
            name = self._labels_name()
            self._add_array(name, (), ffi.from_buffer("float *", labels))
            check(lib.clq_arrays_set_labels(self.arrays, name.encode()))

    def _labels_name(self) -> str:
        name = "labels"
        while any(spec.name == name for spec in self.shapes):
            name += "_"
        return name

    def _open_batches(self, model: Model, batches: Any, labels: Any, limit: Optional[int], stream: bool,
                      work: running) -> None:
        """An iterable of batches: kept in memory, but where one pass is all that is made of a known number."""
        if not hasattr(batches, "__iter__"):
            raise TypeError(f"data must be an array, a path or an iterable of batches, is {type(batches).__name__}")
        rows = _known_rows(batches)
        limit = limit or None  # 0, as for the library: all
        if not stream or rows is None or limit is not None or labels is not None:
            expected = 0 if rows is None else rows if limit is None else min(rows, limit)
            arrays, own = _take(model, batches, limit, expected)
            self._add(arrays, own if labels is None else _to_labels(labels))
            return
        first = _split(model, next(iter(batches)))
        self._check(first[0])
        self._create(rows)
        source = _Stream(model, batches, first, [spec.name for spec in self.shapes], rows)
        for spec in self.shapes:
            self._add_array(spec.name, spec.shape, NULL)
        if source.labelled:
            self._add_array(self._labels_name(), (), NULL)
            check(lib.clq_arrays_set_labels(self.arrays, self._labels_name().encode()))

        @ffi.callback("clq_arrays_fill", error=130, onerror=lambda kind, error, trace: work.keep(error))
        def fill(_context, first_row, count, values):
            source.fill(first_row, count, values)
            return 0

        self.keep.append(fill)
        check(lib.clq_arrays_set_fill(self.arrays, fill, NULL))

    def __enter__(self) -> "Data":
        return self

    def __exit__(self, *_) -> None:
        if self.arrays:
            lib.clq_arrays_close(self.arrays)
            self.arrays = NULL
