#!/usr/bin/env python3
"""Writes the small networks that the fuzz target of the ONNX loader begins with, beside those of PyTorch:

    tests/formats/data/make_seeds.py       needs the package onnx

tiny_moves.onnx   channels last, a channel shuffle, a split, a flattened image, several outputs
tiny_folds.onnx   weights and shapes that nodes compute, a function of its own
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


if __name__ == "__main__":
    moves()
    folds()
