#!/usr/bin/env python3
"""Compares `clquant predict` with ONNX Runtime on a network with two inputs and three outputs, in FP32 and quantized.

    predict_agreement.py --clquant build/clquant [--keep FOLDER]

Inputs and outputs travel as NumPy writes and reads them: .npz plain and compressed, doubles, Fortran order.
Exit code 0: all outputs agree; 77: numpy, onnx or onnxruntime is missing (the test counts as skipped).
"""
import argparse
import json
import os
import subprocess
import sys
import tempfile

try:
    import numpy as np
    import onnx
    import onnxruntime as ort
    from onnx import TensorProto, helper, numpy_helper
except ImportError as error:
    print(f"skipped: {error}")
    sys.exit(77)

ROWS = 75  # more than a batch, and not whole batches


def make_model(path, random):
    """left (N, 3, 9, 7), right (N, 2, 9, 7) -> map (N, 6, 9, 7), twin (the same), scores (N, 5)"""
    weights = {
        "a.weight": (6, 3, 3, 3), "a.bias": (6,), "b.weight": (6, 2, 1, 1), "b.bias": (6,),
        "fc.weight": (5, 6), "fc.bias": (5,),
    }
    nodes = [
        helper.make_node("Conv", ["left", "a.weight", "a.bias"], ["a"], "a", pads=[1, 1, 1, 1]),
        helper.make_node("Conv", ["right", "b.weight", "b.bias"], ["b"], "b"),
        helper.make_node("Add", ["a", "b"], ["sum"], "sum"),
        helper.make_node("Relu", ["sum"], ["map"], "act"),
        helper.make_node("Identity", ["map"], ["twin"], "twin"),
        helper.make_node("GlobalAveragePool", ["map"], ["pooled"], "pool"),
        helper.make_node("Flatten", ["pooled"], ["flat"], "flatten"),
        helper.make_node("Gemm", ["flat", "fc.weight", "fc.bias"], ["scores"], "fc", transB=1),
    ]
    info = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes, "two ends",
        [info("left", TensorProto.FLOAT, ["N", 3, 9, 7]), info("right", TensorProto.FLOAT, ["N", 2, 9, 7])],
        [info("map", TensorProto.FLOAT, ["N", 6, 9, 7]), info("twin", TensorProto.FLOAT, ["N", 6, 9, 7]),
         info("scores", TensorProto.FLOAT, ["N", 5])],
        [numpy_helper.from_array(random.standard_normal(shape).astype(np.float32), name)
         for name, shape in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(model, path)


def run_ort(path, inputs):
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    assert {i.name for i in session.get_inputs()} == set(inputs), "input names"
    names = [o.name for o in session.get_outputs()]
    return dict(zip(names, session.run(names, inputs)))


def run(*command):
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
    return done.stdout


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--clquant", required=True)
    parser.add_argument("--keep", help="leave all files in this folder")
    args = parser.parse_args()
    random = np.random.default_rng(11)
    with tempfile.TemporaryDirectory() as scratch:
        folder = args.keep or scratch
        os.makedirs(folder, exist_ok=True)
        at = lambda name: os.path.join(folder, name)
        make_model(at("m.onnx"), random)
        inputs = {"left": random.standard_normal((ROWS, 3, 9, 7)).astype(np.float32),
                  "right": random.standard_normal((ROWS, 2, 9, 7)).astype(np.float32)}
        np.savez(at("plain.npz"), **inputs)
        np.savez_compressed(at("packed.npz"), left=inputs["left"].astype(np.float64),
                            right=np.asfortranarray(inputs["right"]))
        expected = run_ort(at("m.onnx"), inputs)
        for name in ("plain", "packed"):
            run(args.clquant, "predict", at("m.onnx"), "-i", at(f"{name}.npz"), "-o", at(f"{name}_out.npz"), "-q")
            outputs = np.load(at(f"{name}_out.npz"))
            assert set(outputs.files) == set(expected), outputs.files
            for output, values in expected.items():
                assert outputs[output].shape == values.shape and outputs[output].dtype == np.float32
                worst = np.abs(outputs[output] - values).max()
                print(f"fp32, {name}.npz, {output} {values.shape}: largest difference {worst:.2e}")
                assert worst < 1e-4
        run(args.clquant, "ptq", at("m.onnx"), "-i", at("plain.npz"), "-o", at("q.onnx"), "-q")
        verified = json.loads(run(args.clquant, "verify", at("q.onnx"), "-i", at("plain.npz"), "--json", "-q"))
        print(f"int8: {verified['mismatched_codes']} of {verified['images']} rows' codes differ")
        assert verified["mismatched_codes"] == 0 and verified["images"] == ROWS
        run(args.clquant, "predict", at("q.onnx"), "-i", at("plain.npz"), "-o", at("q.npz"), "-q")
        outputs, expected = np.load(at("q.npz")), run_ort(at("q.onnx"), inputs)
        assert set(outputs.files) == set(expected), outputs.files
        for output, values in expected.items():
            # ONNX Runtime computes in floats here: a value within their rounding of a tie falls the other way.
            step = np.abs(outputs[output] - values)
            share = (step > 1e-4).mean()
            print(f"int8, {output} {values.shape}: {100 * share:.3f} % of the numbers differ, by at most {step.max():.2e}")
            assert share < 0.01 and step.max() < 0.02 * np.abs(values).max()


if __name__ == "__main__":
    main()
