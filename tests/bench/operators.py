#!/usr/bin/env python3
"""Operators that move data, and float ones, one at a time: clquant beside ONNX Runtime on the same file.

    operators.py --clquant build/clquant [--threads 2] [--only concat,softmax] [--rounds 5]

Needs onnx, onnxruntime and numpy. Both take turns, `--rounds` times each; what counts is the shortest run of all, whose memory traffic (what
is read and written at least once) in GB/s says how far from a copy it is. Prints a table; ratio above 1: clquant is faster.
"""
import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

IMAGE = [1, 64, 56, 56]


def constant(name, values, kind=numpy.int64):
    return numpy_helper.from_array(numpy.asarray(values, dtype=kind), name)


def case(nodes, inputs, output, constants=()):
    """A model of one node, or of several; inputs and output: name -> shape."""
    nodes = nodes if isinstance(nodes, list) else [nodes]
    value = lambda item: helper.make_tensor_value_info(item[0], TensorProto.FLOAT, item[1])
    graph = helper.make_graph(nodes, "operator", [value(item) for item in inputs.items()], [value(output)], list(constants))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return model


def cases():
    n, c, h, w = IMAGE
    node = helper.make_node
    yield "concat of channels", case(node("Concat", ["x", "y"], ["z"], axis=1), {"x": IMAGE, "y": IMAGE}, ("z", [n, 2 * c, h, w]))
    yield "slice of channels", case(node("Slice", ["x", "from", "to", "axes"], ["z"]), {"x": IMAGE}, ("z", [n, c // 2, h, w]),
                                    [constant("from", [c // 4]), constant("to", [c // 4 + c // 2]), constant("axes", [1])])
    yield "slice of rows", case(node("Slice", ["x", "from", "to", "axes"], ["z"]), {"x": IMAGE}, ("z", [n, c, h // 2, w]),
                                [constant("from", [4]), constant("to", [4 + h // 2]), constant("axes", [2])])
    # Flattened, as a transposition at a network's end is its callers' and costs nothing.
    for perm, shape in (([0, 2, 1, 3], [1, 197, 12, 64]), ([0, 2, 1], [1, 512, 640])):
        nodes = [node("Transpose", ["x"], ["y"], perm=perm), node("Reshape", ["y", "flat"], ["z"])]
        yield f"transpose {tuple(perm)}", case(nodes, {"x": shape}, ("z", [1, int(numpy.prod(shape))]), [constant("flat", [1, -1])])
    yield "pad by a constant", case(node("Pad", ["x", "pads"], ["z"]), {"x": IMAGE}, ("z", [n, c, h + 2, w + 2]),
                                    [constant("pads", [0, 0, 1, 1, 0, 0, 1, 1])])
    yield "pad by reflection", case(node("Pad", ["x", "pads"], ["z"], mode="reflect"), {"x": IMAGE}, ("z", [n, c, h + 6, w + 6]),
                                    [constant("pads", [0, 0, 3, 3, 0, 0, 3, 3])])
    yield "matmul of activations", case(node("MatMul", ["x", "y"], ["z"]), {"x": [1, 12, 197, 64], "y": [1, 12, 64, 197]},
                                        ("z", [1, 12, 197, 197]))
    yield "softmax", case(node("Softmax", ["x"], ["z"], axis=-1), {"x": [1, 12, 197, 197]}, ("z", [1, 12, 197, 197]))
    yield "instance norm", case(node("InstanceNormalization", ["x", "scale", "bias"], ["z"]), {"x": IMAGE}, ("z", IMAGE),
                                [constant("scale", numpy.ones(c), numpy.float32), constant("bias", numpy.zeros(c), numpy.float32)])
    yield "layer norm", case(node("LayerNormalization", ["x", "scale", "bias"], ["z"], axis=-1), {"x": [1, 197, 768]}, ("z", [1, 197, 768]),
                             [constant("scale", numpy.ones(768), numpy.float32), constant("bias", numpy.zeros(768), numpy.float32)])


def megabytes(model):
    """Of what enters and leaves."""
    shapes = [[d.dim_value for d in v.type.tensor_type.shape.dim] for v in [*model.graph.input, *model.graph.output]]
    return 4e-6 * sum(numpy.prod(shape) for shape in shapes)


def time_clquant(program, path):
    output = subprocess.run([program, "bench", path, "--batch", "1", "--iterations", "200", "--json", "--quiet"],
                            check=True, capture_output=True, text=True).stdout
    return json.loads(output)["results"][0]["latency_ms"]["min"]


def time_onnxruntime(path, threads, repeats=200):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    random = numpy.random.default_rng(1)
    feeds = {i.name: random.standard_normal(i.shape, dtype=numpy.float32) for i in session.get_inputs()}
    shortest = numpy.inf
    for _ in range(repeats):
        start = time.perf_counter()
        session.run(None, feeds)
        shortest = min(shortest, time.perf_counter() - start)
    return 1e3 * shortest


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clquant", default="build/clquant")
    parser.add_argument("--threads", type=int, default=2, help="of ONNX Runtime; clquant takes the device's")
    parser.add_argument("--only", type=lambda text: text.split(","), default=[""], help="names that begin so")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    print("| operator | clquant, ms | GB/s | ONNX Runtime, ms | ratio |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for name, model in cases():
            if not name.startswith(tuple(options.only)):
                continue
            path = str(Path(folder) / "operator.onnx")
            onnx.save(model, path)
            times = [(time_clquant(options.clquant, path), time_onnxruntime(path, options.threads)) for _ in range(options.rounds)]
            ours, theirs = (min(column) for column in zip(*times))
            print(f"| {name} | {ours:.3f} | {megabytes(model) / ours:.1f} | {theirs:.3f} | {theirs / ours:.2f} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
