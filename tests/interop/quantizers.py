#!/usr/bin/env python3
"""Quantizes one network with other people's tools, and runs their files in clquant and ONNX Runtime.

    tests/interop/quantizers.py [--clquant build/clquant] [--model M.onnx --data DIR] [--images 1000] [--only REGEX]
        [--work DIR] [--packages DIR] [-o TABLE.md]

M.onnx is one of clquant's networks for CIFAR (resnet20, ...), trained, and DIR holds a folder of images a class; without them the
network has random weights and reads noise. The files, where their packages are installed:

    ORT QDQ, ORT QOperator   onnxruntime.quantization.quantize_static, weights per channel
    torchao PT2E             XNNPACKQuantizer, exported by torch.onnx.export(dynamo=True)
    TensorRT style           int8 around 0, weights per channel: fake-quantized inputs of layers and of one side of additions, as
                             pytorch-quantization leaves them, exported with float weights and biases
    Brevitas QCDQ            8 bits; weights of 4 bits: Clip between QuantizeLinear and DequantizeLinear
    NNCF                     nncf.quantize of the ONNX model

Of each: `clquant verify` counts codes that differ from their simulation, and both run the same images, prepared here. Exit code 1: a
code differs, a command failed, or top-1 is the same on less than 99.5 % of the images (of noise, whose classes are near each other:
logits differ by more than 5 % of the largest); 77: a package that all need is missing.
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
from datetime import date
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LEAST, MOST = 0.995, 0.05
CALIBRATION = 128  # images


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--clquant", default=str(ROOT / "build" / "clquant"))
    parser.add_argument("--model")
    parser.add_argument("--data")
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--only", default="")
    parser.add_argument("--work")
    parser.add_argument("--packages", help="a folder that pip filled by --target")
    parser.add_argument("-o", "--out")
    return parser.parse_args()


arguments = parse_arguments()
if arguments.packages:
    sys.path.append(arguments.packages)
try:
    import numpy as np
    import onnx
    import onnxruntime as ort
    import torch
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from torch import nn
except ImportError as error:
    print(f"skipped: {error}")
    sys.exit(77)


class Failed(Exception):
    pass


def clquant(*words):
    done = subprocess.run([arguments.clquant, *map(str, words)], capture_output=True, text=True)
    if done.returncode != 0:
        raise Failed(f"clquant {words[0]}: {done.stderr.strip().splitlines()[-1]}")
    return done.stdout


# ---- the network and its images ----

def read_safetensors(path):
    data = Path(path).read_bytes()
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8:8 + size])
    tensors = {}
    for name, entry in header.items():
        if name != "__metadata__":
            begin, end = entry["data_offsets"]
            values = np.frombuffer(data[8 + size + begin:8 + size + end], np.float32).reshape(entry["shape"])
            tensors[name] = torch.from_numpy(values.copy())
    return tensors


class Block(nn.Module):
    """A residual block with an option A shortcut; `make` are the modules of a quantizer."""

    def __init__(self, inputs, outputs, stride, make):
        super().__init__()
        self.conv1, self.relu1 = make.conv(inputs, outputs, stride), make.relu()
        self.conv2, self.relu2 = make.conv(outputs, outputs, 1), make.relu()
        self.same = make.addend()
        self.stride, self.more = stride, outputs - inputs

    def forward(self, x):
        y = self.conv2(self.relu1(self.conv1(x)))
        if self.more > 0:
            x = getattr(x, "value", x)  # Brevitas has no slices of its tensors
            x = nn.functional.pad(x[:, :, ::self.stride, ::self.stride], [0, 0, 0, 0, self.more // 2, self.more // 2])
        return self.relu2(self.same(y) + self.same(x))


class Network(nn.Module):
    """clquant's ResNet for CIFAR with batch norms folded: conv1, layer1 to layer3, fc."""

    def __init__(self, state, make):
        super().__init__()
        depth = 1 + max(int(name.split(".")[1]) for name in state if name.startswith("layer1."))
        self.input = make.input()
        self.conv1, self.relu = make.conv(3, 16, 1), make.relu()
        for index, (inputs, outputs) in enumerate([(16, 16), (16, 32), (32, 64)], 1):
            blocks = [Block(inputs if k == 0 else outputs, outputs, 2 if index > 1 and k == 0 else 1, make)
                      for k in range(depth)]
            setattr(self, f"layer{index}", nn.Sequential(*blocks))
        self.pool = make.pool()
        self.fc = make.linear(64, state["fc.weight"].shape[0])
        self.take(state)
        self.eval()

    def forward(self, x):
        x = self.layer3(self.layer2(self.layer1(self.relu(self.conv1(self.input(x))))))
        return self.fc(torch.flatten(self.pool(x), 1))

    def take(self, state):
        own = dict(self.named_parameters())
        with torch.no_grad():
            for name in [n for n in state if n.endswith("weight") and state[n].dim() == 4]:
                norm = name.replace("conv", "bn").removesuffix("weight")
                factor = state[norm + "weight"] / torch.sqrt(state[norm + "running_var"] + 1e-5)
                own[name].copy_(state[name] * factor[:, None, None, None])
                own[name.removesuffix("weight") + "bias"].copy_(
                    state[norm + "bias"] - state[norm + "running_mean"] * factor)
            own["fc.weight"].copy_(state["fc.weight"])
            own["fc.bias"].copy_(state["fc.bias"])


class Plain:
    """Modules of a float network."""
    input = addend = staticmethod(nn.Identity)
    relu = staticmethod(nn.ReLU)
    linear = staticmethod(nn.Linear)

    @staticmethod
    def conv(inputs, outputs, stride):
        return nn.Conv2d(inputs, outputs, 3, stride, 1)

    @staticmethod
    def pool():
        return nn.AdaptiveAvgPool2d(1)


def read_images(count):
    """(count, 3, 32, 32), spread over the classes, and their labels; CALIBRATION of the training split."""
    random = np.random.default_rng(1)
    if not arguments.data:
        noise = random.standard_normal((CALIBRATION + count, 3, 32, 32)).astype(np.float32)
        return noise[:CALIBRATION], noise[CALIBRATION:], None
    from PIL import Image
    sets = []
    for split, wanted in (("train", CALIBRATION), ("test", count)):
        classes = sorted(p for p in (Path(arguments.data) / split).iterdir() if p.is_dir())
        files = [(f, k) for k, c in enumerate(classes) for f in sorted(c.iterdir())]
        chosen = [files[i * len(files) // wanted] for i in range(wanted)]
        images = np.stack([np.asarray(Image.open(f).convert("RGB"), np.float32) / 255 for f, _ in chosen])
        images = (images - [0.4914, 0.4822, 0.4465]) / [0.247, 0.2435, 0.2616]
        sets.append((images.transpose(0, 3, 1, 2).astype(np.float32), np.array([k for _, k in chosen])))
    return sets[0][0], sets[1][0], sets[1][1]


# ---- the quantizers ----

class Reader(CalibrationDataReader):
    def __init__(self, name, images):
        self.rows = iter([{name: images[i:i + 16]} for i in range(0, len(images), 16)])

    def get_next(self):
        return next(self.rows, None)


def export(model, path, dynamo=False):
    x = torch.zeros(2, 3, 32, 32)
    words = {"dynamic_shapes": {"x": {0: torch.export.Dim("batch")}}} if dynamo else \
        {"dynamic_axes": {"input": {0: "N"}, "logits": {0: "N"}}}
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        torch.onnx.export(model, (x,), str(path), input_names=["input"], output_names=["logits"], dynamo=dynamo,
                          opset_version=18 if dynamo else 17, **words)


def of_onnxruntime(form):
    def quantize(state, calibration, path):
        plain = path.with_name("float.onnx")
        export(Network(state, Plain), plain)
        quantize_static(str(plain), str(path), Reader("input", calibration), quant_format=form, per_channel=True,
                        activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8)
    return quantize


def of_torchao(state, calibration, path):
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e
    from torchao.testing.pt2e._xnnpack_quantizer import XNNPACKQuantizer, get_symmetric_quantization_config
    x = torch.from_numpy(calibration)
    shapes = ({0: torch.export.Dim("batch", min=2, max=4096)},)
    program = torch.export.export(Network(state, Plain), (x,), dynamic_shapes=shapes).module()
    quantizer = XNNPACKQuantizer().set_global(get_symmetric_quantization_config(is_per_channel=True))
    prepared = prepare_pt2e(program, quantizer)
    prepared(x)
    export(convert_pt2e(prepared), path, dynamo=True)


class Fake(nn.Module):
    """Rounds to int8 around 0, by the largest magnitude that it saw before it was fixed."""

    def __init__(self):
        super().__init__()
        self.largest, self.fixed = 0.0, False

    def forward(self, x):
        if not self.fixed:
            self.largest = max(self.largest, float(x.detach().abs().max()))
            return x
        return torch.fake_quantize_per_tensor_affine(x, self.largest / 127, 0, -128, 127)


def rounded_weights(layer):
    if not hasattr(layer, "scale"):
        layer.scale = layer.weight.detach().abs().flatten(1).amax(1) / 127
    zeros = torch.zeros(len(layer.scale), dtype=torch.int32)
    return torch.fake_quantize_per_channel_affine(layer.weight, layer.scale, zeros, 0, -128, 127)


class FakeConv(nn.Conv2d):
    def __init__(self, inputs, outputs, stride):
        super().__init__(inputs, outputs, 3, stride, 1)
        self.round = Fake()

    def forward(self, x):
        return self._conv_forward(self.round(x), rounded_weights(self), self.bias)


class FakeLinear(nn.Linear):
    def __init__(self, inputs, outputs):
        super().__init__(inputs, outputs)
        self.round = Fake()

    def forward(self, x):
        return nn.functional.linear(self.round(x), rounded_weights(self), self.bias)


class FakePool(nn.AdaptiveAvgPool2d):
    def __init__(self):
        super().__init__(1)
        self.round = Fake()

    def forward(self, x):
        return super().forward(self.round(x))


class TensorRT(Plain):
    conv, linear, pool, addend = FakeConv, FakeLinear, FakePool, Fake


def of_tensorrt(state, calibration, path):
    model = Network(state, TensorRT)
    with torch.no_grad():
        model(torch.from_numpy(calibration))
    for module in model.modules():
        if isinstance(module, Fake):
            module.fixed = True
    export(model, path)


def of_brevitas(bits):
    def quantize(state, calibration, path):
        import brevitas.nn as qnn
        from brevitas.export import export_onnx_qcdq
        from brevitas.graph.calibrate import calibration_mode
        from brevitas.quant import Int8ActPerTensorFloat, Int8WeightPerChannelFloat, Int32Bias, Uint8ActPerTensorFloat

        class Modules(Plain):
            @staticmethod
            def input():
                return qnn.QuantIdentity(act_quant=Int8ActPerTensorFloat, return_quant_tensor=True)
            addend = input

            @staticmethod
            def relu():
                return qnn.QuantReLU(act_quant=Uint8ActPerTensorFloat, return_quant_tensor=True)

            @staticmethod
            def conv(inputs, outputs, stride):
                return qnn.QuantConv2d(inputs, outputs, 3, stride, 1, bias=True, weight_bit_width=bits,
                                       weight_quant=Int8WeightPerChannelFloat, bias_quant=Int32Bias)

            @staticmethod
            def linear(inputs, outputs):
                return qnn.QuantLinear(inputs, outputs, bias=True, weight_bit_width=bits,
                                       weight_quant=Int8WeightPerChannelFloat, bias_quant=Int32Bias)

            @staticmethod
            def pool():
                return nn.Sequential(nn.AdaptiveAvgPool2d(1),
                                     qnn.QuantIdentity(act_quant=Uint8ActPerTensorFloat, return_quant_tensor=True))

        model = Network(state, Modules)
        with torch.no_grad(), calibration_mode(model):
            model(torch.from_numpy(calibration))
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model(torch.from_numpy(calibration[:2]))
            export_onnx_qcdq(model, args=torch.from_numpy(calibration[:1]), export_path=str(path), opset_version=17,
                             dynamo=False, input_names=["input"], output_names=["logits"],
                             dynamic_axes={"input": {0: "N"}, "logits": {0: "N"}})
    return quantize


def of_nncf(state, calibration, path):
    import nncf
    plain = path.with_name("float.onnx")
    export(Network(state, Plain), plain)
    images = nncf.Dataset([{"input": calibration[i:i + 1]} for i in range(len(calibration))])
    onnx.save(nncf.quantize(onnx.load(plain), images, subset_size=len(calibration)), path)


QUANTIZERS = {
    "ORT QDQ": of_onnxruntime(QuantFormat.QDQ),
    "ORT QOperator": of_onnxruntime(QuantFormat.QOperator),
    "torchao PT2E": of_torchao,
    "TensorRT style": of_tensorrt,
    "Brevitas QCDQ": of_brevitas(8),
    "Brevitas QCDQ, 4-bit weights": of_brevitas(4),
    "NNCF": of_nncf,
}


# ---- comparing ----

def run_onnxruntime(path, images):
    """The input's name and the outputs, with integer kernels, as it is used. Its sums do not saturate by x64quantprecision, with which
    1.32 does not open files that share zero points; where there is VNNI they do not anyway."""
    for precise in ("1", "0"):
        options = ort.SessionOptions()
        options.log_severity_level = 4
        options.add_session_config_entry("session.x64quantprecision", precise)
        try:
            session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
            break
        except Exception as error:
            if precise == "0":
                raise Failed(f"ONNX Runtime: {error}") from error
    name = session.get_inputs()[0].name
    return name, np.concatenate([session.run(None, {name: images[i:i + 50]})[0] for i in range(0, len(images), 50)])


def compare(path, images, labels):
    """(ONNX Runtime's top-1, clquant's, share of the same top-1, largest difference of logits, mismatched, compared)"""
    inputs, outputs = path.with_name("inputs.npz"), path.with_name("outputs.npz")
    name, expected = run_onnxruntime(path, images)
    np.savez(inputs, **{name: images})
    outputs.unlink(missing_ok=True)
    clquant("predict", path, "-i", inputs, "-o", outputs, "-q")
    with np.load(outputs) as found:
        logits = found[found.files[0]].reshape(expected.shape)
    verified = json.loads(clquant("verify", path, "-i", inputs, "-n", 64, "--json", "-q"))
    a, b = expected.argmax(1), logits.argmax(1)
    accuracy = [float((x == labels).mean()) if labels is not None else float("nan") for x in (a, b)]
    return (*accuracy, float((a == b).mean()), float(np.abs(logits - expected).max() / np.abs(expected).max()),
            verified["mismatched_codes"], verified["compared_codes"])


def versions():
    found = [f"onnxruntime {ort.__version__}", f"torch {torch.__version__.split('+')[0]}"]
    for name in ("torchao", "brevitas", "nncf"):
        with contextlib.suppress(Exception):
            found.append(f"{name} {__import__(name).__version__}")
    return ", ".join(found)


def main():
    torch.manual_seed(1)
    work = Path(arguments.work or tempfile.mkdtemp(prefix="quantizers-"))
    work.mkdir(parents=True, exist_ok=True)
    model = arguments.model or str(work / "model.onnx")
    if not arguments.model:
        clquant("convert", "--network", "resnet20", "--seed", 1, "-o", model)
    clquant("convert", model, "--weights-out", work / "weights.safetensors")
    state = read_safetensors(work / "weights.safetensors")
    for name in [] if arguments.model else [n for n in state if n.endswith(("bias", "running_mean"))]:
        state[name] = 0.1 * torch.randn(state[name].shape)  # equal tensors would become one
    calibration, images, labels = read_images(arguments.images)
    rows, failed = [], False
    export(Network(state, Plain), work / "fp32.onnx")
    fp32 = run_onnxruntime(work / "fp32.onnx", images)[1].argmax(1)
    for name, quantize in QUANTIZERS.items():
        if not re.search(arguments.only, name):
            continue
        path = work / (re.sub(r"\W+", "-", name).lower() + ".onnx")
        try:
            with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
                quantize(state, calibration, path)
            row = compare(path, images, labels)
        except ImportError as error:
            print(f"{name}: left out: {error}")
            continue
        except Exception as error:  # of whatever package
            print(f"{name}: FAILED: {error or type(error).__name__}")
            failed = True
            continue
        bad = row[4] > 0 or (row[3] > MOST if labels is None else row[2] < LEAST)
        failed |= bad
        accuracy = f"{row[0]:.4f} in ONNX Runtime, {row[1]:.4f} in clquant, " if labels is not None else ""
        print(f"{name}: top-1 {accuracy}the same on {100 * row[2]:.2f} %; logits within "
              f"{row[3]:.2g}; {row[4]} of {row[5]} codes differ{' FAILED' if bad else ''}", flush=True)
        rows.append((name, row))
    if arguments.out:
        lines = [f"{date.today()}, {versions()}; {len(images)} images"
                 + (f", of which FP32 has {100 * (fp32 == labels).mean():.2f} % right" if labels is not None else "") + ".", "",
                 "| quantizer | top-1 in ONNX Runtime | top-1 in clquant | the same top-1 | logits differ by | codes that differ |",
                 "|---|---|---|---|---|---|"]
        lines += [f"| {name} | {100 * r[0]:.2f} % | {100 * r[1]:.2f} % | {100 * r[2]:.2f} % | {r[3]:.1g} | {r[4]} of {r[5]:,} |"
                  for name, r in rows]
        Path(arguments.out).write_text("\n".join(lines) + "\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
