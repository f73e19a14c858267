"""Networks on devices."""

from __future__ import annotations

import contextlib
import html
from typing import Any, Dict, Iterator, List, Mapping, NamedTuple, Optional, Sequence, Tuple, Union

import numpy as np

from ._native import check, ffi, lib, text
from .arrays import dense, order_number, to_float32
from .device import Device, default_device, take_result
from .errors import UsageError
from .options import Options, Path, path_bytes


class Spec(NamedTuple):
    """An input or output: its name, and the shape of a sample, (C, H, W) or (features,), without the batch."""

    name: str
    shape: Tuple[int, ...]


def _specs(session, count: int, shape_of, name_of, order: int) -> Tuple[Spec, ...]:
    specs = []
    graph = lib.clq_session_graph(session)
    shape = ffi.new("clq_shape *")
    for i in range(count):
        check(shape_of(session, i, order, shape))
        specs.append(Spec(text(name_of(graph, i)), tuple(shape.dim[1:shape.rank])))
    return tuple(specs)


class Model:
    """A network of any form on a device. Made by :func:`load`, :func:`from_onnx`, :func:`from_torch`, :func:`ptq` and
    :func:`qat`, not by itself.

    ``model(x)`` runs it: x (N, C, H, W) or (N, features), float32, any N; the outputs come back as a new array, or a
    dict of arrays by name where there are several. Models may be used from any thread; those on one device take turns.
    """

    def __init__(self, session, device: Device) -> None:
        self._session = session
        self._uses = 0  # pieces of work that it is part of
        self._closed: Any = None  # the session, when it is closed by a callback of such work
        self.device = device
        self._info: Optional[Dict[str, Any]] = None
        info = self.info
        counts = len(info["inputs"]), len(info["outputs"])
        #: The inputs, as the model's file shows them. Tuples of :class:`Spec`, as are the outputs.
        self.inputs = _specs(session, counts[0], lib.clq_session_input_shape, lib.clq_graph_input_name, 0)
        self.outputs = _specs(session, counts[1], lib.clq_session_output_shape, lib.clq_graph_output_name, 0)
        last = (_specs(session, counts[0], lib.clq_session_input_shape, lib.clq_graph_input_name, 1),
                _specs(session, counts[1], lib.clq_session_output_shape, lib.clq_graph_output_name, 1))
        self._ends = ((self.inputs, self.outputs), last)
        # Networks that take a whole batch as one sample have it as the first dimension of a sample.
        self._input_pointers = ffi.new("float *[]", counts[0])
        self._output_pointers = ffi.new("float *[]", counts[1])

    # ---- running ----

    def __call__(self, x: Any, *, order: str = "model") -> Union[np.ndarray, Dict[str, np.ndarray]]:
        """Runs the network.

        x: an array (numpy, torch, anything that numpy takes) of floats; for several inputs a dict by name, or a
        sequence in their order. order: "model", elements as the model's file shows them, usually (N, C, H, W); "nhwc",
        channels last in inputs and outputs, which saves turning them. Float32 in C order is read where it lies.
        """
        number = order_number(order)
        inputs, outputs = self._ends[number]
        if len(inputs) == 1 and not isinstance(x, (dict, Mapping)):
            arrays = (x,)
        else:
            arrays = self._by_name(x)
        count = None
        dense_arrays = []
        for spec, array in zip(inputs, arrays):
            array = dense(to_float32(array, spec.name))
            if array.shape[1:] != spec.shape or not array.ndim:
                raise UsageError(f"{spec.name}: must be (N, {', '.join(map(str, spec.shape))}), is {array.shape}")
            if count is None:
                count = array.shape[0]
            elif array.shape[0] != count:
                raise UsageError(f"{spec.name}: has {array.shape[0]} samples, {inputs[0].name} {count}")
            dense_arrays.append(array)
        results = [np.empty((count, *spec.shape), np.float32) for spec in outputs]
        if count:
            with self.device._lock:
                session = self._take()
                for i, array in enumerate(dense_arrays):
                    self._input_pointers[i] = ffi.from_buffer("float *", array)
                for i, array in enumerate(results):
                    self._output_pointers[i] = ffi.from_buffer("float *", array, require_writable=True)
                check(lib.clq_session_run(session, number, count, self._input_pointers, self._output_pointers))
        if len(results) == 1:
            return results[0]
        return {spec.name: array for spec, array in zip(outputs, results)}

    def _by_name(self, x: Any) -> Sequence[Any]:
        names = [spec.name for spec in self.inputs]
        if isinstance(x, Mapping):
            if sorted(x) != sorted(names):
                raise UsageError(f"the inputs are {', '.join(names)}; given are {', '.join(map(str, x))}")
            return [x[name] for name in names]
        if isinstance(x, (list, tuple)) and len(x) == len(names):
            return x
        raise UsageError(f"give a dict or a sequence with the inputs {', '.join(names)}")

    def expect(self, runs: int) -> None:
        """Says that it will be called about so often with each number of samples that is new from now on: often is
        worth seconds of preparation, which make calls with few samples faster. No result changes."""
        if not 0 <= runs < 1 << 64:
            raise UsageError(f"runs must be at least 0, and a 64-bit number, are {runs}")
        with self.device._lock:
            check(lib.clq_session_expect(self._take(), runs))

    # ---- what it is ----

    @property
    def info(self) -> Dict[str, Any]:
        """All that is in it, as ``clquant info --json`` shows it (docs/json.md)."""
        if self._info is None:
            with self.device._lock:
                result = ffi.new("clq_result **")
                check(lib.clq_session_info(self._take(), result))
                self._info = take_result(result)
        return self._info

    @property
    def form(self) -> str:
        """"trained", "folded", "quantized" or "integer"."""
        return self.info["form"]

    @property
    def layers(self) -> List[Dict[str, Any]]:
        """A dict for each node: name, op, output (shape), weights, codes, parameters, macs. For ``pandas.DataFrame``."""
        return self.info["layers"]

    @property
    def quantization(self) -> Optional[Dict[str, Any]]:
        """How it is quantized: scales, types, what was asked for ("recorded"); None: it is not."""
        return self.info["quantization"]

    @property
    def nbytes(self) -> int:
        """Bytes of its parameters as they are stored."""
        return sum(stored["bytes"] for stored in self.info["stored"].values())

    # ---- life ----

    def _take(self):
        if self._session is None:
            raise UsageError("the model is closed")
        return self._session

    @contextlib.contextmanager
    def _used(self) -> Iterator[Any]:
        """Its session, which stays for the length of a piece of work, whatever callbacks do."""
        with self.device._lock:
            session = self._take()
            self._uses += 1
            try:
                yield session
            finally:
                self._uses -= 1
                self._destroy_closed()
                self.device._sweep()

    def _destroy_closed(self) -> None:
        if self._closed is not None and self._uses == 0:
            session, self._closed = self._closed, None
            lib.clq_session_destroy(session)

    def save(self, path: Path, *, form: Optional[str] = None, opset: Optional[int] = None) -> None:
        """Writes an .onnx file, which ONNX Runtime and Netron open. It replaces a file of that name.

        form, of an int8 network: "qdq" (default), QuantizeLinear and DequantizeLinear around float operators;
        "qoperator", QLinearConv and the like where ONNX has them; "qoperator-ort", ONNX Runtime's own (com.microsoft)
        too. opset: 13 to 21 (default: the oldest that has all that is needed).
        """
        with self.device._lock, Options({"form": form, "opset": opset}) as given:
            check(lib.clq_session_save(self._take(), path_bytes(path), given.pointer))

    def save_encodings(self, path: Path, *, format: Optional[str] = None) -> None:
        """Writes the scales of a quantized network alone: format "aimet-0.6.1" (default), "aimet-1.0.0" or "ncnn"
        (default for .table)."""
        name = path_bytes(path)
        formats = _encodings_formats()
        if format is None:
            format = "ncnn" if name.endswith(b".table") else "aimet-0.6.1"
        if format not in formats:
            raise UsageError(f"format must be one of {', '.join(formats)}, is {format!r}")
        with self.device._lock:
            check(lib.clq_encodings_save(lib.clq_session_graph(self._take()), formats.index(format), name))

    def close(self) -> None:
        """Gives its memory back now, not when nothing refers to it any more. Work that it is part of ends first."""
        with self.device._lock:
            if self._session is not None:
                self._session, self._closed = None, self._session
                self._destroy_closed()

    def __del__(self) -> None:
        session = getattr(self, "_session", None)
        if session is None or lib is None or self.device._lost:
            return
        # It may be called in any place of any thread, which must not wait for another's work there.
        if self.device._lock.acquire(blocking=False):
            lib.clq_session_destroy(session)
            self.device._lock.release()
        else:
            self.device._unused.append(session)

    def __enter__(self) -> "Model":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def __reduce_ex__(self, _protocol: Any) -> Any:
        raise TypeError("a Model lies on a device and cannot be copied or pickled; save() and load() make another")

    def __repr__(self) -> str:
        if self._session is None:
            return "<clquant.Model, closed>"
        ends = ", ".join(f"{spec.name} {spec.shape}" for spec in self.inputs)
        return f"<clquant.Model {self.info['name'] or 'network'}, {self.form}, {self.nbytes / 1e6:.2f} MB, takes {ends}>"

    def _repr_html_(self) -> str:
        rows = []
        for layer in self.layers:
            weights = layer["weights"] or {}
            codes = layer["codes"]
            made = f"{codes['type']}, scale {codes['scale']:.3g}, zero {codes['zero_point']}" if codes else "float32"
            cells = (layer["name"], layer["op"], "x".join(str(d or "N") for d in layer["output"]),
                     weights.get("quantized_to") or weights.get("type") or "", made)
            rows.append("<tr>" + "".join(f"<td>{html.escape(str(cell))}</td>" for cell in cells) + "</tr>")
        head = "".join(f"<th>{cell}</th>" for cell in ("layer", "operator", "output", "weights", "makes"))
        return f"<p>{html.escape(repr(self))}</p><table><tr>{head}</tr>{''.join(rows)}</table>"


def _encodings_formats() -> List[str]:
    names: List[str] = []
    while lib.clq_encodings_format_name(len(names)):
        names.append(text(lib.clq_encodings_format_name(len(names))))
    return names


def _from_graph(graph, device: Optional[Device]) -> Model:
    try:
        device = default_device() if device is None else device
        if not isinstance(device, Device):
            raise TypeError(f"device must be a clquant.Device, such as Device(\"cpu\"), is {type(device).__name__}")
        session = ffi.new("clq_session **")
        with device._lock:
            device._sweep()
            check(lib.clq_session_create(device._take(), graph, session))
        return Model(session[0], device)
    finally:
        lib.clq_graph_destroy(graph)


def load(path: Path, *, device: Optional[Device] = None,
         shapes: Optional[Mapping[str, Sequence[int]]] = None) -> Model:
    """Reads an .onnx file: FP32, QDQ or QOperator. shapes: whole shapes of inputs, (1, 3, 224, 224), where the file
    leaves dimensions open."""
    graph = ffi.new("clq_graph **")
    given = list((shapes or {}).items())
    names = [ffi.new("char[]", name.encode()) for name, _ in given]
    array = ffi.new("clq_onnx_shape[]", max(1, len(given)))
    for i, (name, dims) in enumerate(given):
        if len(dims) > 8:
            raise UsageError(f"{name}: has {len(dims)} dimensions, more than 8")
        array[i].input = names[i]
        array[i].rank = len(dims)
        try:
            array[i].dim[0:len(dims)] = [int(d) for d in dims]
        except OverflowError:
            raise UsageError(f"{name}: has a dimension that is too large: {dims}") from None
    check(lib.clq_onnx_load_shaped(path_bytes(path), array, len(given), graph))
    return _from_graph(graph[0], device)


def from_onnx(model: Any, *, device: Optional[Device] = None) -> Model:
    """The same of an ``onnx.ModelProto``, or of a file's bytes. External data would need a file: use :func:`load`."""
    if not isinstance(model, (bytes, bytearray, memoryview)):
        if not hasattr(model, "SerializeToString"):
            raise TypeError(f"model must be an onnx.ModelProto or a file's bytes, is {type(model).__name__}; load() reads "
                            "files")
        model = model.SerializeToString()
    data = bytes(model) if isinstance(model, memoryview) else model
    graph = ffi.new("clq_graph **")
    check(lib.clq_onnx_load_memory(ffi.from_buffer(data), len(data), b"the model", graph))
    return _from_graph(graph[0], device)


def from_torch(module: Any, example_input: Any, *, device: Optional[Device] = None) -> Model:
    """Exports a ``torch.nn.Module`` in evaluation mode to ONNX and reads that.

    example_input: a tensor (1, C, H, W), or a tuple of them for several inputs. The first dimension is taken as the
    batch; the module's mode is as it was afterwards.
    """
    import io
    import warnings

    import torch

    if not isinstance(module, torch.nn.Module):
        raise TypeError(f"module must be a torch.nn.Module, is {type(module).__name__}")
    examples = example_input if isinstance(example_input, tuple) else (example_input,)
    training = module.training
    module.eval()
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            made = module(*examples)
            names = [f"input{i}" if i else "input" for i in range(len(examples))]
            count = len(made) if isinstance(made, (tuple, list, dict)) else 1
            outputs = list(made) if isinstance(made, dict) else [f"output{i}" if i else "output" for i in range(count)]
            file = io.BytesIO()
            torch.onnx.export(module, examples, file, input_names=names, output_names=outputs, opset_version=17,
                              dynamic_axes={name: {0: "N"} for name in names + outputs}, dynamo=False)
    finally:
        module.train(training)
    return from_onnx(file.getvalue(), device=device)
