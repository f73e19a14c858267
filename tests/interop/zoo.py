#!/usr/bin/env python3
"""Takes torchvision's networks through clquant and ONNX Runtime, and writes what came out as a table in Markdown.

    tests/interop/zoo.py [--clquant build/clquant] [--work DIR] [--only REGEX] [--exporters torchscript,dynamo] [-o docs/zoo.md]
    tests/interop/zoo.py --models DIR            # other people's files instead: NAME.onnx with NAME.npz beside it

Each network gets random weights and is exported by both of PyTorch's exporters. Compared are the outputs in FP32 on random
inputs with ONNX Runtime's; then `clquant ptq` quantizes it, the QDQ file runs in ONNX Runtime too, and `clquant verify` compares
the integer network's codes with their simulation. A file's inputs and outputs lie in the .npz as `in:NAME` and `out:NAME`.
Differences are the largest of an output, divided by the largest value of that output (0.01 at least). Exit code 1: an FP32 output is off by more
than --tolerance, a code differs, or a command failed; 77: a package is missing (the test counts as skipped).
"""
import argparse
import contextlib
import io
import json
import re
import subprocess
import sys
import tempfile
import warnings
from dataclasses import dataclass
from datetime import date
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
try:
    import numpy as np
    import onnxruntime as ort
except ImportError as error:
    print(f"skipped: {error}")
    sys.exit(77)

CLASSIFIERS = [
    "alexnet", "vgg11_bn", "resnet18", "resnext50_32x4d", "wide_resnet50_2", "squeezenet1_1", "densenet121", "googlenet",
    "inception_v3", "shufflenet_v2_x1_0", "mobilenet_v2", "mobilenet_v3_small", "mobilenet_v3_large", "mnasnet1_0",
    "efficientnet_b0", "regnet_y_400mf", "regnet_x_400mf", "convnext_tiny"]
SEGMENTERS = ["fcn_resnet50", "lraspp_mobilenet_v3_large"]
DETECTORS = ["ssdlite320_mobilenet_v3_large"]
SIZES = {"inception_v3": 299, "ssdlite320_mobilenet_v3_large": 320}


class Failed(Exception):
    pass


@dataclass
class Row:
    name: str
    fp32: float = None  # difference from ONNX Runtime, or from the outputs in the .npz
    quantized: float = None  # error of the quantized network's outputs against FP32's, in clquant
    quantized_ort: float = None  # in ONNX Runtime
    same_top1: float = None
    mismatched: int = None
    error: str = ""


def difference(outputs, reference):
    """The largest difference of any output, divided by the largest value of that output, or by 0.01 where that is smaller: a
    probability of 1e-5 is made from floats of about 1."""
    worst = 0.0
    for name, expected in reference.items():
        found = np.asarray(outputs[name], np.float64).reshape(np.shape(expected))
        worst = max(worst, float(np.abs(found - expected).max() / max(np.abs(expected).max(), 0.01)))
    return worst


def error_norm(outputs, reference):
    """||outputs - reference|| / ||reference||, of all outputs together."""
    off = sum(float(((np.asarray(outputs[n], np.float64).reshape(np.shape(r)) - r) ** 2).sum()) for n, r in reference.items())
    return (off / max(sum(float((np.asarray(r, np.float64) ** 2).sum()) for r in reference.values()), 1e-30)) ** 0.5


def session(path):
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def run_onnxruntime(path, inputs):
    """Outputs by name; image by image where the file has batch 1."""
    s = session(path)
    first = s.get_inputs()[0]
    count = len(next(iter(inputs.values())))
    if isinstance(first.shape[0], int) and first.shape[0] < count:
        parts = [s.run(None, {n: x[i:i + 1] for n, x in inputs.items()}) for i in range(count)]
        values = [np.concatenate(column) for column in zip(*parts)]
    else:
        values = s.run(None, inputs)
    return {output.name: value for output, value in zip(s.get_outputs(), values)}


class Clquant:
    def __init__(self, command, work):
        self.command, self.work, self.shapes = command, Path(work), []

    def run(self, *arguments, accept=(0,)):
        result = subprocess.run([self.command, *map(str, arguments), *self.shapes, "--json", "--quiet"], capture_output=True, text=True)
        if result.returncode not in accept:
            lines = result.stderr.strip().splitlines()
            raise Failed(f"clquant {arguments[0]}: " + (lines[-1] if lines else f"exit code {result.returncode}"))
        return json.loads(result.stdout) if result.stdout.strip().startswith("{") else {}

    def save_inputs(self, inputs):
        path = self.work / "inputs.npz"
        np.savez(path, **inputs)
        return path

    def predict(self, model, inputs):
        out = self.work / "outputs.npz"
        self.run("predict", model, "--inputs", self.save_inputs(inputs), "-o", out)
        with np.load(out) as arrays:
            return {name: arrays[name] for name in arrays.files}

    def info(self, model):
        return self.run("info", model)

    def quantize(self, model, inputs, output):
        self.run("ptq", model, "--inputs", self.save_inputs(inputs), "-o", output)

    def mismatched_codes(self, model, inputs):
        return self.run("verify", model, "--inputs", self.save_inputs(inputs), accept=(0, 1))["mismatched_codes"]


def measure(clquant, name, model, inputs, reference, row):
    """Fills in the row; what comes before a failure stays."""
    outputs = clquant.predict(model, inputs)
    row.fp32 = difference(outputs, reference)
    if clquant.info(model)["form"] == "integer":
        row.mismatched = clquant.mismatched_codes(model, inputs)
        return
    integer = clquant.work / f"{name}-int8.onnx"
    clquant.quantize(model, inputs, integer)
    quantized = clquant.predict(integer, inputs)
    row.quantized = error_norm(quantized, reference)
    row.mismatched = clquant.mismatched_codes(integer, inputs)
    in_ort = run_onnxruntime(integer, inputs)
    row.quantized_ort = error_norm(in_ort, reference)
    first = next(iter(reference))
    if np.ndim(reference[first]) == 2 and np.shape(reference[first])[1] > 1:
        row.same_top1 = float(np.mean(np.argmax(quantized[first], 1) == np.argmax(in_ort[first], 1)))


# ---- torchvision ----

def build(name):
    import torch
    import torchvision

    torch.manual_seed(0)
    size = SIZES.get(name, 224)
    if name in SEGMENTERS:
        whole = getattr(torchvision.models.segmentation, name)(weights=None, weights_backbone=None)

        class Out(torch.nn.Module):
            def __init__(self):
                super().__init__()
                self.whole = whole

            def forward(self, x):
                return self.whole(x)["out"]

        return Out().eval(), size
    if name in DETECTORS:
        whole = torchvision.models.detection.ssdlite320_mobilenet_v3_large(weights=None, weights_backbone=None)

        class Head(torch.nn.Module):  # without the boxes' selection, which is no network
            def __init__(self):
                super().__init__()
                self.backbone, self.head = whole.backbone, whole.head

            def forward(self, x):
                found = self.head(list(self.backbone(x).values()))
                return found["bbox_regression"], found["cls_logits"]

        return Head().eval(), size
    more = {"init_weights": False, "aux_logits": False} if name in ("googlenet", "inception_v3") else {}
    return getattr(torchvision.models, name)(weights=None, **more).eval(), size


def export(network, size, exporter, path):
    import torch

    x = torch.randn(1, 3, size, size)
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if exporter == "dynamo":
            torch.onnx.export(network, (x,), str(path), dynamo=True, verbose=False)
        else:
            torch.onnx.export(network, (x,), str(path), dynamo=False, opset_version=17)


def torchvision_rows(options, clquant):
    try:
        import torchvision  # noqa: F401
    except ImportError as error:
        print(f"skipped: {error}")
        sys.exit(77)
    for name in CLASSIFIERS + SEGMENTERS + DETECTORS:
        for exporter in options.exporters.split(","):
            row = Row(f"{name}, {exporter}")
            if options.only and not re.search(options.only, row.name):
                continue
            model = clquant.work / f"{name}-{exporter}.onnx"
            try:
                network, size = build(name)
                if not model.exists():
                    export(network, size, exporter, model)
                inputs = session(model).get_inputs()[0].name
                x = np.random.default_rng(0).standard_normal((options.images, 3, size, size), np.float32)
                feed = {inputs: x}
                measure(clquant, f"{name}-{exporter}", model, feed, run_onnxruntime(model, feed), row)
            except Failed as failure:
                row.error = str(failure)
            yield row


# ---- other people's files ----

def open_shapes(model, inputs):
    """--shape for the inputs whose dimensions behind the batch the file leaves open."""
    flags = []
    for declared in session(model).get_inputs():
        if any(not isinstance(size, int) for size in declared.shape[1:]):
            flags += ["--shape", f"{declared.name}=1," + ",".join(map(str, inputs[declared.name].shape[1:]))]
    return flags


def file_rows(options, clquant):
    for model in sorted(Path(options.models).glob("*.onnx")):
        arrays = model.with_suffix(".npz")
        row = Row(model.stem)
        if not arrays.exists() or (options.only and not re.search(options.only, row.name)):
            continue
        with np.load(arrays) as stored:
            inputs = {key[3:]: stored[key] for key in stored.files if key.startswith("in:")}
            reference = {key[4:]: stored[key] for key in stored.files if key.startswith("out:")}
        try:
            clquant.shapes = open_shapes(model, inputs)
            measure(clquant, model.stem, model, inputs, reference, row)
        except Failed as failure:
            row.error = str(failure)
        yield row


def figure(value, text):
    return "" if value is None else text.format(value)


def line(row):
    cells = [row.name, figure(row.fp32, "{:.1e}"), figure(row.quantized, "{:.3f}"), figure(row.quantized_ort, "{:.3f}"),
             figure(row.same_top1, "{:.0%}"), figure(row.mismatched, "{}"), row.error.replace("|", "/")]
    return "| " + " | ".join(cells) + " |"


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0], formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clquant", default=str(ROOT / "build" / "clquant"))
    parser.add_argument("--work", metavar="DIR", help="exported and quantized networks (default: a temporary folder)")
    parser.add_argument("--models", metavar="DIR", help="NAME.onnx with NAME.npz, instead of torchvision's")
    parser.add_argument("--only", metavar="REGEX")
    parser.add_argument("--exporters", default="torchscript,dynamo")
    parser.add_argument("--images", type=int, default=2)
    parser.add_argument("--tolerance", type=float, default=1e-4)
    parser.add_argument("-o", "--output", metavar="FILE", help="default: stdout")
    options = parser.parse_args()
    good = True
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(options.work or temporary)
        work.mkdir(parents=True, exist_ok=True)
        clquant = Clquant(options.clquant, work)
        lines = []
        for row in file_rows(options, clquant) if options.models else torchvision_rows(options, clquant):
            lines.append(line(row))
            print(lines[-1], file=sys.stderr)
            good &= not row.error and row.fp32 <= options.tolerance and row.mismatched == 0
    text = "\n".join([
        "# Other people's networks", "",
        f"Written by `tests/interop/zoo.py`, ONNX Runtime {ort.__version__}, {date.today()}. Random weights and inputs: `FP32` is the largest",
        "difference of an output from ONNX Runtime's, relative to its largest value (of a quantized file too); `int8` the error of the quantized network's outputs",
        "against FP32's (norm of the difference by the norm), in clquant and of the same file in ONNX Runtime; `codes` those that differ between",
        "the integer network and its simulation.", "",
        "| network | FP32 | int8 | int8 in ONNX Runtime | same top-1 | codes | |", "|---|---|---|---|---|---|---|", *lines]) + "\n"
    if options.output:
        Path(options.output).write_text(text)
    else:
        print(text, end="")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
