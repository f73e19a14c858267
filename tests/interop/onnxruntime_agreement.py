#!/usr/bin/env python3
"""Runs a QDQ model in ONNX Runtime and compares logits, top-1 and every activation's codes with clquant.

    onnxruntime_agreement.py --clquant build/clquant --model qat.onnx --data DIR [--limit 1000] [--json FILE]
    onnxruntime_agreement.py --clquant build/clquant --self-test

Exit code 0: top-1 agrees on at least --min-agreement of the images, no logit differs by more than --max-difference, and
the first codes to differ, if any do, are an addition's, whose float sums round elsewhere; 1: not so; 77: numpy, onnx or
onnxruntime is missing (the test counts as skipped). --self-test trains and quantizes small networks on the synthetic set
and on a table first.
"""
import argparse
import json
import os
import struct
import subprocess
import sys
import tempfile

try:
    import numpy as np
    import onnx
    import onnxruntime as ort
except ImportError as error:
    print(f"skipped: {error}")
    sys.exit(77)


def load_safetensors(path):
    with open(path, "rb") as file:
        blob = file.read()
    size = struct.unpack("<Q", blob[:8])[0]
    header = json.loads(blob[8 : 8 + size])
    tensors = {}
    for name, info in header.items():
        if name != "__metadata__":
            begin, end = info["data_offsets"]
            data = np.frombuffer(blob, {"U8": np.uint8, "I8": np.int8}[info["dtype"]], end - begin, 8 + size + begin)
            tensors[name] = data.reshape(info["shape"])
    return tensors


def quantize_outputs(model):
    """What QuantizeLinear makes from activations, with the Clip of the codes behind it if there is one: name and element type."""
    types = {tensor.name: tensor.data_type for tensor in model.graph.initializer}
    clips = {node.input[0]: node.output[0] for node in model.graph.node if node.op_type == "Clip"}
    return {
        clips.get(node.output[0], node.output[0]): types[node.input[2]]
        for node in model.graph.node
        if node.op_type == "QuantizeLinear" and node.input[0] not in types
    }


def operators(model):
    """What makes the reals that each QuantizeLinear's output stands for; an activation behind it is part of it."""
    makers = {output: node for node in model.graph.node for output in node.output}
    found = {}
    for name in quantize_outputs(model):
        node = makers[name]
        while node is not None and node.op_type in ("Relu", "Clip", "QuantizeLinear"):
            node = makers.get(node.input[0])
        found[name] = node.op_type if node is not None else "input"
    return found


def is_mixed(model):
    """Whether the weights of some layers are float, or they read what is not quantized."""
    makers = {output: node.op_type for node in model.graph.node for output in node.output}
    layers = [node for node in model.graph.node if node.op_type in ("Conv", "Gemm")]
    return any(makers.get(name) != "DequantizeLinear" for node in layers for name in node.input[:2])


def computes_in_float(model):
    """Whether ONNX Runtime has no integer operator for some layer: its weights are float or of 4 bits, or codes are clipped."""
    half_bytes = any(tensor.data_type in (onnx.TensorProto.INT4, onnx.TensorProto.UINT4) for tensor in model.graph.initializer)
    codes = {node.output[0] for node in model.graph.node if node.op_type == "QuantizeLinear"}
    clips = any(node.op_type == "Clip" and node.input[0] in codes for node in model.graph.node)
    return is_mixed(model) or half_bytes or clips


def session(model, inputs, outputs, batch=50):
    options = ort.SessionOptions()
    if is_mixed(model):  # optimizing, ONNX Runtime quantizes the weights that were to stay float
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = os.cpu_count()
    # Without VNNI, ONNX Runtime multiplies u8 by s8 with vpmaddubsw, which saturates; this asks for exact products.
    options.add_session_config_entry("session.x64quantprecision", "1")
    run = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    name = run.get_inputs()[0].name
    parts = [run.run(outputs, {name: inputs[i : i + batch]}) for i in range(0, len(inputs), batch)]
    return [np.concatenate(column) for column in zip(*parts)]


def compare_codes(model, inputs, ours):
    """Adds every quantized activation to the outputs and counts differing codes by value.

    The file names a QuantizeLinear output after the value, with a suffix; the longest value name that is its prefix
    is the value."""
    names, made_by = quantize_outputs(model), operators(model)
    extended = onnx.ModelProto()
    extended.CopyFrom(model)
    for name, element_type in names.items():
        extended.graph.output.append(onnx.helper.make_tensor_value_info(name, element_type, None))
    results = session(extended, inputs, list(names))
    rows = []
    for name, theirs in zip(names, results):
        candidates = [value for value in ours if name.startswith(value)]
        if not candidates:
            continue
        value = max(candidates, key=len)
        if theirs.ndim == 4:
            theirs = theirs.transpose(0, 2, 3, 1)
        if theirs.size != ours[value].size:
            continue
        difference = np.abs(theirs.reshape(ours[value].shape).astype(int) - ours[value].astype(int))
        rows.append({"value": value, "operator": made_by[name], "codes": int(difference.size), "differ": int((difference > 0).sum()),
                     "largest": int(difference.max())})
    return rows


def compare(clquant, model_path, data, limit):
    with tempfile.TemporaryDirectory() as folder:
        paths = {key: os.path.join(folder, key) for key in ("logits.npy", "inputs.npy", "codes.safetensors")}
        subprocess.run(
            [clquant, "eval", model_path, "--data", data, "--limit", str(limit), "--quiet", "--logits",
             paths["logits.npy"], "--save-inputs", paths["inputs.npy"], "--codes", paths["codes.safetensors"]],
            check=True, stdout=subprocess.DEVNULL)
        logits, inputs = np.load(paths["logits.npy"]), np.load(paths["inputs.npy"])
        codes = load_safetensors(paths["codes.safetensors"])
    model = onnx.load(model_path)
    onnx.checker.check_model(model)
    theirs = session(model, inputs, None)[0]
    rows = compare_codes(model, inputs, codes)
    first = next((row["operator"] for row in rows if row["differ"]), "Add")
    return {
        "onnxruntime": ort.__version__,
        "images": len(inputs),
        "top1_agreement": float((theirs.argmax(1) == logits.argmax(1)).mean()),
        "largest_logit_difference": float(np.abs(theirs - logits).max()),
        "codes": sum(row["codes"] for row in rows),
        "differing_codes": sum(row["differ"] for row in rows),
        # All but additions are exact on both sides, unless some layers compute in float.
        "explained": computes_in_float(model) or first == "Add",
        "values": rows,
    }


def ptq(clquant, folder, data, name, *options):
    """Quantizes the folder's model."""
    model = os.path.join(folder, name)
    subprocess.run([clquant, "ptq", os.path.join(folder, "model.onnx"), "--data", data, "-o", model, "--quiet",
                    *options], check=True)
    return model


def quantized(clquant, folder, recipe, data, *options):
    """Trains the recipe's network and quantizes it."""
    subprocess.run([clquant, "train", recipe, "--data", data, "--out", folder, "--quiet", *options], check=True)
    return ptq(clquant, folder, data, "ptq.onnx")


def self_test(options, folder):
    recipe = os.path.join(folder, "recipe.json")
    with open(recipe, "w") as file:
        json.dump({"network": {"name": "resnet20"}, "train": {"epochs": 1, "batch": 32}}, file)
    data = "synthetic:train=1024,test=256,size=16"
    images = quantized(options.clquant, os.path.join(folder, "images"), recipe, data)
    root = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
    table = os.path.join(root, "tests", "data", "tables", "smooth.csv")
    recipe = os.path.join(root, "models", "recipes", "mlp-regression.json")
    rows = quantized(options.clquant, os.path.join(folder, "rows"), recipe, table, "--epochs", "5")
    options.min_agreement = 0.99
    images_pass = agrees(options, images, data, 256)
    for form in ("qoperator", "qoperator-ort"):
        images_pass = form_agrees(options, images, data, form) and images_pass
    for name, flags in (("bits", ["--weight-bits", "layer*=4"]),
                        ("types", ["--activation-bits", "input=s8", "--activation-bits", "layer2*=s8",
                                   "--activation-bits", "layer*=5", "--weight-bits", "layer3*=5"]),
                        ("weights", ["--activations", "float"]),
                        ("four", ["--weight-bits", "*=4", "--activations", "float"]),
                        ("activations", ["--float-weights"])):
        # Weights of 4 bits behind codes, and float weights, ONNX Runtime multiplies as floats, whose sums are rounded
        # otherwise: codes behind them may differ by one, and what follows.
        options.min_agreement = 0.97 if name in ("bits", "activations") else 0.99
        model = ptq(options.clquant, os.path.dirname(images), data, name + ".onnx", *flags)
        images_pass = agrees(options, model, data, 256) and images_pass
    mixed = ptq(options.clquant, os.path.dirname(images), data, "mixed.onnx", "--keep-float", "layer1.0.conv1",
                "--keep-float", "layer2*", "--weight-bits", "layer3*=4")
    options.min_agreement = 0.97  # float sums in two layers as well
    images_pass = agrees(options, mixed, data, 256) and images_pass
    options.max_difference = 0.02  # a code more or less of one value; the outputs are near 1
    return agrees(options, rows, table, 100) and images_pass


def logits_of(clquant, model, data):
    """(logits, inputs)"""
    with tempfile.TemporaryDirectory() as folder:
        paths = [os.path.join(folder, name) for name in ("logits.npy", "inputs.npy")]
        subprocess.run([clquant, "eval", model, "--data", data, "--quiet", "--logits", paths[0], "--save-inputs", paths[1]],
                       check=True, stdout=subprocess.DEVNULL)
        return np.load(paths[0]), np.load(paths[1])


def form_agrees(options, model, data, form):
    """The same network in another form: clquant computes the same bits of it, ONNX Runtime nearly the same classes."""
    other = model.removesuffix(".onnx") + "-" + form + ".onnx"
    subprocess.run([options.clquant, "convert", model, "--onnx-form", form, "-o", other, "--quiet"], check=True,
                   stdout=subprocess.DEVNULL)
    logits, inputs = logits_of(options.clquant, model, data)
    same = bool((logits == logits_of(options.clquant, other, data)[0]).all())
    read = onnx.load(other)
    count = sum(node.op_type.startswith("Q") and node.op_type != "QuantizeLinear" for node in read.graph.node)
    agreement = float((session(read, inputs, None)[0].argmax(1) == logits.argmax(1)).mean())
    print(f"{form}: {count} nodes on codes; clquant's logits {'are the same' if same else 'DIFFER'}; top-1 agrees on "
          f"{100 * agreement:.2f} % of {len(inputs)} images")
    return same and count > 0 and agreement >= options.min_agreement


def agrees(options, model, data, limit):
    """Compares, prints, and says whether it is good enough."""
    result = compare(options.clquant, model, data, limit)
    if options.json:
        with open(options.json, "w") as file:
            json.dump(result, file, indent=2)
    for row in result["values"]:
        if row["differ"]:
            print(f"{row['value']}: {row['differ']} of {row['codes']} codes differ, by at most {row['largest']}")
    print(f"ONNX Runtime {result['onnxruntime']}: top-1 agrees on {100 * result['top1_agreement']:.2f} % of "
          f"{result['images']} images; {result['differing_codes']} of {result['codes']} codes differ; largest logit "
          f"difference {result['largest_logit_difference']:.3g}")
    if not result["explained"]:
        print("the first codes that differ are not an addition's")
    return (result["explained"] and result["top1_agreement"] >= options.min_agreement
            and result["largest_logit_difference"] <= options.max_difference)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clquant", default="build/clquant")
    parser.add_argument("--model")
    parser.add_argument("--data")
    parser.add_argument("--limit", type=int, default=1000)
    parser.add_argument("--min-agreement", type=float, default=0.999)
    parser.add_argument("--max-difference", type=float, default=float("inf"))
    parser.add_argument("--json")
    parser.add_argument("--self-test", action="store_true")
    options = parser.parse_args()
    if not options.self_test:
        return 0 if agrees(options, options.model, options.data, options.limit) else 1
    with tempfile.TemporaryDirectory() as folder:
        return 0 if self_test(options, folder) else 1


if __name__ == "__main__":
    sys.exit(main())
