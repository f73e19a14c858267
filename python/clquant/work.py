"""What is done with networks: quantizing, evaluating, verifying, analyzing, timing."""

from __future__ import annotations

import contextlib
import os
from typing import Any, Dict, Iterable, List, Mapping, Optional, Sequence, Tuple, Union

from ._native import ffi, lib
from .data import Data
from .device import take_result
from .errors import UsageError
from .model import Model
from .options import Options, Path, path_bytes
from .policy import to_rules
from .progress import Progress, running


class Result(Dict[str, Any]):
    """A dict, docs/json.md says of what, whose keys are attributes too: ``result.top1``."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"the result has no {name!r}; it has {', '.join(self)}") from None


def _check_model(model: Any) -> None:
    if not isinstance(model, Model):
        raise TypeError(f"model must be a clquant.Model, as load() and others make it, is {type(model).__name__}")


def _run(model: Model, function: Any, data: Any, labels: Any, order: str, options: Dict[str, Any], progress: Progress,
         limit: Optional[int] = None, stream: bool = False, quantizes: bool = False,
         beside: Optional[Model] = None) -> Tuple[Optional[Model], Result]:
    """One call of the library on data; the new network, if it makes one, and the result."""
    _check_model(model)
    options["data"] = options.pop("prepare", None)
    result = ffi.new("clq_result **")
    made = ffi.new("clq_session **")
    with contextlib.ExitStack() as stack:
        sessions = [stack.enter_context(one._used()) for one in (model, beside) if one is not None]
        work = stack.enter_context(running(progress))
        given = stack.enter_context(Options(options))
        source = stack.enter_context(Data(model, data, labels, order, limit, stream, work))
        arguments = [*sessions, source.path, source.arrays, given.pointer]
        status = function(*arguments, *([made] if quantizes else []), result)
        try:
            work.check(status)
        except BaseException:
            lib.clq_session_destroy(made[0])
            lib.clq_result_free(result[0])
            raise
    network = Model(made[0], model.device) if quantizes else None
    return network, Result(take_result(result))


def _take_policy(options: Dict[str, Any]) -> Dict[str, Any]:
    if options.get("policy") is not None and not isinstance(options["policy"], (str, os.PathLike)):
        options["policy"] = to_rules(options["policy"])
    return options


def ptq(model: Model, data: Any = None, *, observer: Optional[str] = None, images: Optional[int] = None,
        policy: Any = None, encodings: Optional[Path] = None, order: str = "model", progress: Progress = None,
        **options: Any) -> Model:
    """Quantizes an FP32 network by calibration: the int8 network, ready to run, ``result`` says how it was made.

    data: an array (N, C, H, W) of float32 as the network wants it, normalized; a dict of arrays by input; an iterable
    of batches (arrays, or (array, labels) as torch's DataLoader has them), of which the first `images` are taken; or a
    path as the command's ``--data`` and ``--inputs`` take it, whose images are prepared as the model, or
    ``prepare={"mean": [...], "std": [...], "resize": 256}``, says (docs/data.md). order: of the arrays, "model" or "nhwc".

    observer: "minmax" (default), "moving_average", "percentile", "percentile:99.9", "mse", "entropy" or "all": the best
    of them. images: how many calibrate (default 512). policy: a :class:`Rule` or a list of them. Other options are the
    keys of a recipe's "ptq" (docs/recipes.md): equalize, adaround (steps), bias_correct, scale ("pow2"), requantizer,
    weights ("per_tensor"), ...; seed (of the choice of images); test_images: measure accuracy on so many of the path's
    test split, before and after.

    encodings: a file of AIMET's encodings or ncnn's table to take scales from; data then finds only what it does not
    say, and may be left out where it says all.
    """
    if data is None and encodings is None:
        raise TypeError("data must be an array, a path or an iterable of batches, is None")
    options = _take_policy({**options, "observer": observer, "images": images, "policy": policy,
                            "encodings": None if encodings is None else os.fsdecode(path_bytes(encodings))})
    network, result = _run(model, lib.clq_session_ptq, data, None, order, options, progress,
                           limit=512 if images is None else images, quantizes=True)
    network.result = result
    return network


def qat(model: Model, data: Any, labels: Any = None, *, epochs: int = 1, out: Optional[Path] = None, resume: bool = False,
        policy: Any = None, order: str = "model", progress: Progress = None, **options: Any) -> Model:
    """Fine-tunes an FP32 network quantization-aware and converts it to integers: the network that ``ptq`` makes is where
    it begins. ``result`` of the network says how it went.

    data: as for :func:`ptq`, with labels beside it, or within it: (x, labels), batches (x, labels), a path. Arrays and
    batches are held in memory, twice (4 bytes a number); images of a path need not fit. Without labels, ``distill={"teacher": "fp32", "weight": 1}`` and ``no_labels=True`` let
    it learn from the FP32 network alone.

    out: a folder for checkpoints and history. Ctrl-C, or a progress function that raises, ends it behind a checkpoint
    there, and ``resume=True`` goes on from it to the same bits. Other options are the keys of a recipe's "qat"
    (docs/recipes.md): batch, seed, optimizer, schedule={"lr": 0.001}, learn_scales, augment, ...
    """
    options = _take_policy({**options, "epochs": epochs, "out": None if out is None else os.fsdecode(path_bytes(out)),
                            "resume": resume or None, "policy": policy})
    network, result = _run(model, lib.clq_session_qat, data, labels, order, options, progress, quantizes=True)
    network.result = result
    return network


def evaluate(model: Model, data: Any, labels: Any = None, *, split: Optional[str] = None, limit: Optional[int] = None,
             batch: Optional[int] = None, order: str = "model", progress: Progress = None, **options: Any) -> Result:
    """Accuracy of a classifier on labelled data: top1, top5 (0..1), loss (mean cross-entropy), images, confusion (row:
    label), logits_sha256.

    data: as for :func:`ptq`, with labels (N,) beside it or within it. A torch DataLoader is read once, batch by batch.
    split ("test" or "train"), of a path; limit: at most so many, spread evenly.
    """
    _, result = _run(model, lib.clq_session_evaluate, data, labels, order,
                     {**options, "split": split, "limit": limit, "batch": batch}, progress, stream=True)
    return result


def verify(model: Model, data: Any, *, limit: Optional[int] = None, order: str = "model", progress: Progress = None,
           **options: Any) -> Result:
    """Compares every code of a quantized network with what its simulation in floats promised: mismatched_codes (0 is
    the proof), compared_codes, first_mismatch, logits_sha256, dot_paths (the same hash by each), layers.

    data: as for :func:`ptq`; limit: at most so many samples of it.
    """
    _, result = _run(model, lib.clq_session_verify, data, None, order, {**options, "limit": limit}, progress, limit)
    return result


class Analysis(List[Dict[str, Any]]):
    """A dict for each layer, the costliest first: ``pandas.DataFrame(analysis)``. docs/analyze.md explains the numbers.

    ladder: what each step from the float to the integer network costs. advice: what to try. result: all of it.
    """

    def __init__(self, result: Mapping[str, Any]) -> None:
        super().__init__({key: value for key, value in layer.items() if key != "histogram"}
                         for layer in result["layers"])
        self.ladder: List[Dict[str, Any]] = result["ladder"]
        self.advice: str = result["advice"]
        self.result = Result(result)

    def plot(self, axes: Any = None) -> Any:
        """Each layer's error of the outputs, quantized alone; needs matplotlib. Returns the axes."""
        from .plots import plot_layers

        return plot_layers(self, axes)


def analyze(model: Model, quantized: Model, data: Any, labels: Any = None, *, limit: Optional[int] = None,
            order: str = "model", progress: Progress = None, **options: Any) -> Analysis:
    """Which layer loses accuracy: of an FP32 network and what was made of it, on data as for :func:`evaluate`; without
    labels, how far outputs are from FP32's. limit: samples (default 512, or fewer that take 1 GB)."""
    for network in (model, quantized):
        _check_model(network)
    if quantized.device is not model.device:
        raise UsageError("both networks must be on one device")
    _, result = _run(model, lib.clq_session_analyze, data, labels, order, {**options, "limit": limit}, progress, limit,
                     beside=quantized)
    return Analysis(result)


def bench(models: Union[Model, Iterable[Model]], *, batch: Union[int, Sequence[int]] = 1,
          iterations: Optional[int] = None, layers: bool = False, peak: bool = False,
          progress: Progress = None) -> List[Result]:
    """Times networks in turns: a :class:`Result` for each of them and each batch size, of which ``latency_ms`` has
    median, p90, ... in milliseconds, and images_per_second (docs/json.md).

    layers: each layer's times, too. peak: measure what the device can do, to compare with (seconds).
    """
    models = [models] if isinstance(models, Model) else list(models)
    result = ffi.new("clq_result **")
    for model in models:
        _check_model(model)
    options = {"batch": list(batch) if isinstance(batch, Iterable) else batch, "iterations": iterations, "layers": layers,
               "peak": peak}
    with contextlib.ExitStack() as stack:
        for device in sorted({model.device for model in models}, key=id):  # always in the same order
            stack.enter_context(device._lock)
        sessions = ffi.new("clq_session *[]", [stack.enter_context(model._used()) for model in models])
        work = stack.enter_context(running(progress))
        given = stack.enter_context(Options(options))
        status = lib.clq_session_bench(sessions, len(models), given.pointer, result)
        try:
            work.check(status)
        except BaseException:
            lib.clq_result_free(result[0])
            raise
    return [Result(one) for one in take_result(result)["results"]]
