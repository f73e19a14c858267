"""Reads the ONNX files that clquant writes into a list of layers, for rivals that read no ONNX themselves.

Needs numpy and onnx. Takes folded FP32 models and QDQ models of convolutions, linear layers, residual additions,
ReLU and ReLU6, max pools and global average pools.
"""
from dataclasses import dataclass, field

import numpy as np
import onnx
from onnx import numpy_helper


@dataclass
class Quantization:
    """real = scale * (code - zero_point), code in 0..255."""
    scale: float
    zero_point: int


@dataclass
class Layer:
    """One operator; its output has the layer's name. Activations are fused into it."""
    op: str  # conv, linear, add, max_pool or global_average_pool
    name: str
    inputs: list
    attributes: dict = field(default_factory=dict)
    weight: np.ndarray = None  # (OC, IC / groups, KH, KW) or (OC, IC): float32, or int8 codes
    weight_scale: np.ndarray = None  # (OC,), of codes
    bias: np.ndarray = None  # (OC,) float32
    upper: float = None  # None: no activation; inf: ReLU; 6: ReLU6


@dataclass
class Graph:
    input: str
    output: str
    layers: list
    quantization: dict  # of each quantized activation, by name


class _Reader:
    def __init__(self, model):
        self.constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
        self.parameters = {name: (data, None) for name, data in self.constants.items()}  # values or codes, scales
        self.layers = {}
        self.quantization = {}
        self.same = {}  # name of a tensor that only renames, quantizes or activates another -> that other

    def value(self, name):
        while name in self.same:
            name = self.same[name]
        return name

    def add(self, node):
        attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        ops = {"Conv": "conv", "Gemm": "linear", "Add": "add", "MaxPool": "max_pool",
               "GlobalAveragePool": "global_average_pool"}
        if node.op_type not in ops:
            raise ValueError(f"{node.name}: {node.op_type} is not supported")
        layer = Layer(ops[node.op_type], node.output[0], [], attributes)
        if layer.op in ("conv", "linear"):
            layer.inputs = [self.value(node.input[0])]
            layer.weight, layer.weight_scale = self.parameters[node.input[1]]
            bias, scale = self.parameters[node.input[2]]
            layer.bias = bias if scale is None else (bias * scale.astype(np.float64)).astype(np.float32)
        else:
            layer.inputs = [self.value(name) for name in node.input]
        self.layers[layer.name] = layer

    def read(self, node):
        if node.op_type == "DequantizeLinear" and node.input[0] in self.constants:
            codes, scales = (self.constants[name] for name in node.input[:2])
            self.parameters[node.output[0]] = codes, np.broadcast_to(scales, len(codes))
        elif node.op_type in ("QuantizeLinear", "DequantizeLinear", "Flatten", "Relu", "Clip"):
            value = self.value(node.input[0])
            self.same[node.output[0]] = value
            if node.op_type == "QuantizeLinear":
                self.quantization.setdefault(
                    value, Quantization(float(self.constants[node.input[1]]), int(self.constants[node.input[2]])))
            elif node.op_type == "Relu":
                self.layers[value].upper = float("inf")
            elif node.op_type == "Clip":
                self.layers[value].upper = float(self.constants[node.input[2]])
        else:
            self.add(node)

    def read_all(self, model):
        for node in model.graph.node:
            self.read(node)
        return Graph(model.graph.input[0].name, self.value(model.graph.output[0].name), list(self.layers.values()),
                     self.quantization)


def read(path):
    model = onnx.load(path)
    return _Reader(model).read_all(model)


def largest_activations(path, count=2):
    """Bytes of the largest quantized activations of a QDQ model at batch 1, largest first."""
    model = onnx.load(path)
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    shapes = {info.name: [d.dim_value for d in info.type.tensor_type.shape.dim]
              for info in onnx.shape_inference.infer_shapes(model).graph.value_info}
    outputs = [node.output[0] for node in model.graph.node if node.op_type == "QuantizeLinear"]
    return sorted((int(np.prod(shapes[name])) for name in outputs), reverse=True)[:count]
