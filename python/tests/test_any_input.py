"""Whatever arrays are given, there is a result of the right shape or an exception, never a crash or another's memory."""

import numpy as np
import pytest

import clquant as cq
from conftest import CLASSES, SIZE

hypothesis = pytest.importorskip("hypothesis")
from hypothesis import HealthCheck, given, settings  # noqa: E402
from hypothesis import strategies as some  # noqa: E402

DTYPES = ("f2", "f4", "f8", ">f4", "i1", "u1", "i4", "i8", "b1", "c8", "U3", "O", "M8[s]", "V4")
QUICK = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))


@some.composite
def shapes(draw):
    """The right one, with dimensions changed, left out or added."""
    shape = [draw(some.integers(0, 5)), 3, SIZE, SIZE]
    for _ in range(draw(some.integers(0, 2))):
        what, at = draw(some.sampled_from(("change", "drop", "add"))), draw(some.integers(0, len(shape)))
        if what == "add":
            shape.insert(at, draw(some.integers(0, 3)))
        elif at < len(shape):
            shape[at:at + 1] = [draw(some.integers(0, 9))] if what == "change" else []
    return tuple(shape)


@some.composite
def arrays(draw):
    shape, dtype = draw(shapes()), np.dtype(draw(some.sampled_from(DTYPES)))
    array = np.zeros(shape, dtype)
    if dtype.kind in "fiu":
        array = (np.arange(array.size).reshape(shape) % 11 - 5).astype(dtype)
        if draw(some.booleans()) and array.size and dtype.kind == "f":
            array.flat[draw(some.integers(0, array.size - 1))] = draw(some.sampled_from((np.nan, np.inf, -np.inf, 1e4)))
    strides = draw(some.sampled_from(("dense", "fortran", "reversed", "spread", "broadcast", "read-only")))
    if strides == "fortran":
        array = np.asfortranarray(array)
    elif strides == "reversed" and array.ndim:
        array = array[::-1]
    elif strides == "spread":
        array = np.repeat(array, 2, axis=-1)[..., ::2] if array.ndim else array
    elif strides == "broadcast" and array.ndim and array.shape[0]:
        array = np.broadcast_to(array[:1], array.shape)
    elif strides == "read-only":
        array.flags.writeable = False
    return array


@QUICK
@given(arrays(), some.sampled_from(("model", "nhwc")), some.booleans())
def test_running(int8, model, x, order, quantized):
    network = int8 if quantized else model
    right = (3, SIZE, SIZE) if order == "model" else (SIZE, SIZE, 3)
    try:
        y = network(x, order=order)
    except (cq.Error, TypeError, ValueError):
        fits = x.ndim == 4 and x.shape[1:] == right and x.dtype.kind == "f"
        assert not fits or not np.isfinite(x.astype("f4")).all()
    else:
        assert y.shape == (len(x), CLASSES) and x.shape[1:] == right
        again = network(np.ascontiguousarray(x, dtype=np.float32), order=order)
        assert np.array_equal(y, again, equal_nan=True)


@settings(QUICK, max_examples=40)
@given(arrays(), some.lists(some.integers(-2, CLASSES + 1), max_size=6), some.sampled_from((cq.evaluate, cq.verify)))
def test_work(int8, x, labels, job):
    try:
        result = job(int8, (x, np.array(labels, dtype=np.int64)))
    except (cq.Error, TypeError, ValueError):
        pass
    else:
        assert result["images"] == len(x) > 0


@settings(QUICK, max_examples=40)
@given(some.dictionaries(some.text(max_size=8), some.recursive(
    some.none() | some.booleans() | some.floats() | some.integers() | some.text(max_size=8),
    lambda inner: some.lists(inner, max_size=3) | some.dictionaries(some.text(max_size=4), inner, max_size=3)),
    min_size=1, max_size=3))
def test_options(model, images, options):
    for reserved in ("observer", "images", "policy", "order", "progress", "prepare", "model", "data"):
        options.pop(reserved, None)
    try:
        cq.ptq(model, images[:4], **options)
    except (cq.Error, TypeError, ValueError):
        pass
