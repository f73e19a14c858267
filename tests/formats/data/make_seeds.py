#!/usr/bin/env python3
"""Writes the small networks that the fuzz target of the ONNX loader begins with, beside those of PyTorch:

    tests/formats/data/make_seeds.py       needs the package onnx

tiny_moves.onnx   channels last, a channel shuffle, a split, a flattened image, several outputs
tiny_folds.onnx   weights and shapes that nodes compute, a function of its own
tiny_forms.onnx   one of most operators of images, a line, matrices and rows
tiny_codes.onnx   layers on codes in QOperator form, dynamic quantization, a function's attribute with a default
"""
import os

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

HERE = os.path.dirname(os.path.abspath(__file__))
RANDOM = np.random.default_rng(1)


def weights(name, *shape):
    return numpy_helper.from_array(RANDOM.uniform(-1, 1, shape).astype(np.float32), name)


def longs(name, *values):
    return numpy_helper.from_array(np.array(values, dtype=np.int64), name)


def info(name, *shape):
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def write(name, nodes, inputs, outputs, constants, functions=(), opset=17):
    graph = helper.make_graph(nodes, name, inputs, outputs, constants)
    imports = [helper.make_opsetid("", opset)] + ([helper.make_opsetid("mine", 1)] if functions else [])
    model = helper.make_model(graph, opset_imports=imports, functions=functions, ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, os.path.join(HERE, name + ".onnx"))


def moves():
    node = helper.make_node
    write("tiny_moves", [
        node("Transpose", ["x"], ["x1"], perm=[0, 3, 1, 2]),
        node("Conv", ["x1", "a.weight"], ["a"]),
        node("Reshape", ["a", "split"], ["s"]),
        node("Transpose", ["s"], ["t"], perm=[0, 2, 1, 3, 4]),
        node("Reshape", ["t", "joined"], ["j"]),
        node("Split", ["j"], ["p", "q"], axis=1),
        node("Add", ["p", "q"], ["sum"]),
        node("Transpose", ["sum"], ["z"], perm=[0, 2, 3, 1]),
        node("Flatten", ["sum"], ["f"]),
        node("MatMul", ["f", "fc.weight"], ["y"]),
        node("Relu", ["f"], ["r"]),
        node("Unsqueeze", ["r", "axes"], ["u"]),
        node("Squeeze", ["u", "axes"], ["w"]),
    ], [info("x", "N", 4, 3, 3)], [info("y", "N", 2), info("z", "N", 4, 3, 2), info("w", "N", 24)],
        [weights("a.weight", 4, 3, 1, 1), weights("fc.weight", 24, 2), longs("split", -1, 2, 2, 4, 3),
         longs("joined", -1, 4, 4, 3), longs("axes", 1)])


def folds():
    node = helper.make_node
    block = helper.make_function(
        "mine", "Block", ["in", "weight"], ["out"],
        [node("Conv", ["in", "weight"], ["c"]), node("Relu", ["c"], ["out"])],
        [helper.make_opsetid("", 17)])
    write("tiny_folds", [
        node("Mul", ["a", "b"], ["ab"]),
        node("ConstantOfShape", ["wide"], ["ones"], value=numpy_helper.from_array(np.ones(1, np.float32))),
        node("Concat", ["ab", "ones"], ["w"], axis=0),
        node("Gather", ["w", "order"], ["weight"], axis=0),
        node("Block", ["x", "weight"], ["r"], domain="mine"),
        node("Shape", ["r"], ["shape"]),
        node("Slice", ["shape", "zero", "one"], ["n"]),
        node("Slice", ["shape", "one", "end"], ["rest"]),
        node("ReduceProd", ["rest"], ["features"], keepdims=1),
        node("Concat", ["n", "features"], ["target"], axis=0),
        node("Equal", ["target", "minus"], ["open"]),
        node("Where", ["open", "minus", "target"], ["chosen"]),
        node("Reshape", ["r", "chosen"], ["f"]),
        node("Gemm", ["f", "fc"], ["y"], alpha=0.5),
    ], [info("x", "N", 3, 4, 3)], [info("y", "N", 2)],
        [weights("a", 2, 3, 1, 1), weights("b", 1, 3, 1, 1), longs("wide", 1, 3, 1, 1), longs("order", 2, 0, -2),
         longs("zero", 0), longs("one", 1), longs("end", 4), longs("minus", -1), weights("fc", 36, 2)], [block])


def forms():
    node = helper.make_node
    floats = lambda name, *values: numpy_helper.from_array(np.array(values, dtype=np.float32), name)
    write("tiny_forms", [
        node("ConvTranspose", ["x", "up"], ["a"], strides=[2, 2], output_padding=[1, 0], pads=[0, 0, 1, 1]),
        node("Resize", ["a", "", "", "sizes"], ["b"], mode="linear", coordinate_transformation_mode="half_pixel"),
        node("Resize", ["b", "", "scales"], ["c"], mode="nearest", nearest_mode="floor"),
        node("Pad", ["x", "pads", "low"], ["p"]),
        node("MaxPool", ["p"], ["m"], kernel_shape=[2, 2]),
        node("Concat", ["m", "x"], ["d"], axis=1),
        node("Gather", ["d", "order"], ["e"], axis=1),
        node("PRelu", ["e", "slope"], ["f"]),
        node("DepthToSpace", ["f"], ["g"], blocksize=2),
        node("SpaceToDepth", ["g"], ["h"], blocksize=2),
        node("InstanceNormalization", ["h", "gamma", "beta"], ["i"]),
        node("LRN", ["i"], ["j"], size=3),
        node("AveragePool", ["j"], ["k"], kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1),
        node("Softmax", ["k"], ["l"], axis=1),
        node("ArgMax", ["l"], ["top"], axis=1, keepdims=0),
        node("Cast", ["top"], ["tops"], to=TensorProto.FLOAT),
        node("Conv", ["line", "taps"], ["n"], pads=[1, 1], dilations=[2]),
        node("LayerNormalization", ["n", "width"], ["o", "mean", "inverse"], axis=-1),
        node("MatMul", ["o", "matrices"], ["q"]),
        node("MatMul", ["left", "q"], ["r"]),
        node("ReduceLogSumExp", ["r", "last"], ["s"], keepdims=0),
        node("Expand", ["inverse", "wide"], ["t"]),
        node("Tile", ["t", "repeats"], ["u"]),
        node("Clip", ["u", "least"], ["v"]),
        node("Slice", ["v", "starts", "ends", "axes", "steps"], ["w"]),
        node("LpNormalization", ["s"], ["y"], axis=-1),
    ], [info("x", "N", 4, 3, 3), info("line", "N", 2, 6)],
        [info("y", "N", 3), info("c", "N", 2, 10, 6), info("tops", "N", 2, 2), info("w", "N", 3, 2), info("mean", "N", 3, 1)],
        [weights("up", 4, 2, 2, 2), longs("order", 7, 5, 3, 1, 0, 2, 4, 6), weights("slope", 8, 1, 3), weights("gamma", 8),
         weights("beta", 8), weights("taps", 3, 2, 2), weights("width", 6), weights("matrices", 6, 5), weights("left", 3, 3),
         longs("sizes", 1, 2, 5, 3), floats("scales", 1, 1, 2, 2), longs("pads", 0, 0, 1, 0, 0, 0, 0, 1),
         numpy_helper.from_array(np.float32(-3.4e38), "low"), longs("wide", 1, 3, 4), longs("repeats", 1, 1, 2),
         numpy_helper.from_array(np.float32(0.5), "least"), longs("starts", 7), longs("ends", -9), longs("axes", 2),
         longs("steps", -4), longs("last", 2)], opset=18)


def codes():
    node = helper.make_node
    number = lambda name, value, type=np.float32: numpy_helper.from_array(type(value), name)
    coded = lambda name, *shape: numpy_helper.from_array(RANDOM.integers(-127, 128, shape).astype(np.int8), name)
    block = helper.make_function(
        "mine", "Block", ["in", "weight"], ["out"], [node("Conv", ["in", "weight"], ["out"])],
        [helper.make_opsetid("", 17)], attribute_protos=[helper.make_attribute("by", [2, 2])])
    block.node[0].attribute.append(onnx.AttributeProto(name="strides", type=onnx.AttributeProto.INTS, ref_attr_name="by"))
    graph = helper.make_graph([
        node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        node("QLinearConv", ["q", "s", "z", "w", "ws", "wz", "s", "z", "b"], ["c"]),
        node("MaxPool", ["c"], ["m"], kernel_shape=[2, 2]),
        node("QLinearAdd", ["m", "s", "z", "m", "s", "z", "t", "z"], ["a"], domain="com.microsoft"),
        node("DequantizeLinear", ["a", "t", "z"], ["d"]),
        node("Block", ["d", "k"], ["e"], domain="mine"),
        node("Flatten", ["e"], ["f"]),
        node("DynamicQuantizeLinear", ["f"], ["fq", "fs", "fz"]),
        node("Mul", ["fs", "ws"], ["fws"]),
        node("MatMulInteger", ["fq", "v", "fz", "wz"], ["g"]),
        node("Cast", ["g"], ["h"], to=TensorProto.FLOAT),
        node("Mul", ["h", "fws"], ["y"]),
    ], "tiny_codes", [info("x", "N", 2, 4, 4)], [info("y", "N", 3)],
        [number("s", 0.0625), number("t", 0.125), number("z", 128, np.uint8), coded("w", 4, 2, 1, 1), number("ws", 0.01),
         number("wz", 0, np.int8), numpy_helper.from_array(np.array([1, 2, 3, 4], np.int32), "b"), weights("k", 2, 4, 1, 1),
         coded("v", 8, 3)])
    model = helper.make_model(graph, functions=[block], ir_version=8, opset_imports=[
        helper.make_opsetid("", 17), helper.make_opsetid("mine", 1), helper.make_opsetid("com.microsoft", 1)])
    onnx.save(model, os.path.join(HERE, "tiny_codes.onnx"))


if __name__ == "__main__":
    moves()
    folds()
    forms()
    codes()
