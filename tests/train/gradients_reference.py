#!/usr/bin/env python3
"""PyTorch's gradients, in double precision, for tests/train/test_gradients_reference.c.

    gradients_reference.py                            writes data/gradients-CASE.safetensors (needs torch, torchvision, numpy)
    gradients_reference.py --full build/test_train_gradients_reference
                                                      compares every element of every gradient instead

Parameters, input and labels come from Philox on both sides (`fill` here, `value_of` there), so no weights are stored. A file holds,
for the parameters in alphabetical order (metadata "parameters", a name a line) and in clquant's layout (OC, KH, KW, IC / G):

    scale    F32 (parameters)             the largest magnitude in the gradient; of a bias whose gradient is zero by rights, as
                                          only a batch norm sees it, that of its layer's weight
    norm     F32 (parameters)             its L2 norm
    samples  F32 (parameters, 8)          elements at i * count / 8
    sums     F32 (runs)                   of each run of elements (metadata "run": of so many, else 1024) with signs from Philox: a
                                          wrong element shows
    offsets  I8  (elements of all vectors) what is added to biases, in 2^-11; of torchvision's networks, of which "loss" is F32 (1),
                                          only those of the vectors that metadata "moved" names

The offsets keep the comparison well conditioned. Where the input of a ReLU is within rounding of zero, its gradient is there or
not by chance; one such element in a million moves a gradient by more than the tolerance. So each channel's bias in the
batch norm or convolution ahead of a ReLU, hard swish or hard sigmoid is moved by up to 0.06, to where its inputs stay farthest from the kinks (printed as "margin"). And
the last gammas of bottlenecks, inverted residuals and RegNet's blocks are small, as after an initialization with zero (Goyal et al. 2017): with random ones ResNet-50
amplifies rounding so that PyTorch's own FP32 gradients are off by 8e-5, and by 9e-6 with small ones.
"""
import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy
import torch
import torch.nn.functional as F
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from torch_reference import networks, philox, tensors  # noqa: E402

DATA = Path(__file__).parent / "data"
RUN, LONG_RUN, SAMPLES, CLASSES, SEED = 1024, 16384, 8, 10, 5
OFFSET = 2.0**-11
torch.set_num_threads(1)  # the same bits every time


class Strided(nn.Module):
    """Convolutions of one stride with their groups; tanh has no kinks."""

    def __init__(self, stride):
        super().__init__()
        # channels, kernel, stride, groups
        rows = [(16, 3, stride, 1), (24, 3, stride, 4), (24, 3, stride, 24), (40, 1, stride, 2), (36, 5, 1, 4)]
        inputs = 3
        for i, (channels, kernel, step, groups) in enumerate(rows):
            setattr(self, f"conv{i}", nn.Conv2d(inputs, channels, kernel, step, kernel // 2, groups=groups))
            inputs = channels
        self.count = len(rows)
        self.fc = nn.Linear(inputs, CLASSES)

    def forward(self, x):
        for i in range(self.count):
            x = torch.tanh(getattr(self, f"conv{i}")(x))
        return self.fc(x.mean((2, 3)))


def torchvision_network(name):
    """Without what draws random numbers."""
    import torchvision

    model = getattr(torchvision.models, name)(weights=None, num_classes=CLASSES)
    for module in model.modules():
        if isinstance(module, (nn.Dropout, torchvision.ops.StochasticDepth)):
            module.p = 0.0
        if isinstance(module, (nn.ReLU, nn.ReLU6, nn.Hardswish, nn.Hardsigmoid)):
            module.inplace = False
    return model


TORCHVISION = {  # pixels a side, batch
    "mobilenet_v3_small": (64, 8),
    "mobilenet_v3_large": (64, 8),
    "efficientnet_b0": (64, 8),
    "squeezenet1_1": (64, 4),
    "shufflenet_v2_x1_0": (64, 8),
    "regnet_y_400mf": (64, 8),
    "densenet121": (64, 8),
    "convnext_tiny": (64, 4),
}

CASES = {  # name -> network, pixels a side, batch
    "resnet50": (lambda: networks.build("resnet50"), 16, 8),
    "mobilenet_v2": (lambda: networks.build("mobilenet_v2"), 16, 16),
    "stride1": (lambda: Strided(1), 13, 3),
    "stride2": (lambda: Strided(2), 37, 3),
    "stride3": (lambda: Strided(3), 83, 3),
    **{name: (lambda name=name: torchvision_network(name), *shape) for name, shape in TORCHVISION.items()},
}
KINKS = {nn.ReLU: [0.0], nn.ReLU6: [0.0, 6.0], nn.Hardswish: [-3.0, 3.0], nn.Hardsigmoid: [-3.0, 3.0]}


def stream(name):
    """FNV-1a, 64 bits."""
    value = 0xCBF29CE484222325
    for byte in name.encode():
        value = (value ^ byte) * 0x100000001B3 % 2**64
    return value


def random(name, count):
    return philox.uniform(philox.words(SEED, stream(name), count))


def to_clquant(array):
    """(OC, IC, KH, KW) to (OC, KH, KW, IC), (C, 1, 1) to (C); others as they are."""
    if array.ndim == 3:
        return array.reshape(-1)
    return numpy.ascontiguousarray(array.transpose(0, 2, 3, 1)) if array.ndim == 4 else array


def fill(model):
    """All parameters, exact in float32."""
    for name, parameter in model.named_parameters():
        shape = to_clquant(parameter.detach().numpy()).shape
        u = random(name, parameter.numel())
        if len(shape) > 1:
            bound = numpy.float32(numpy.sqrt(6.0 / numpy.prod(shape[1:])))
            value = (2 * u - 1) * bound
        else:
            value = (u - numpy.float32(0.5)) / 2 if name.endswith("bias") else u + numpy.float32(0.5)
            value *= numpy.float32(0.25 if name.endswith(("bn3.weight", "conv.3.weight", "f.c.1.weight")) else 1)
        value = torch.from_numpy(value.reshape(shape))
        value = value.permute(0, 3, 1, 2) if len(shape) == 4 else value
        parameter.data = value.reshape(parameter.shape).double().contiguous()


def best_offset(values, kinks):
    """(step, margin): the shift, in steps of OFFSET, that keeps a channel's values farthest from the kinks."""
    reach = 127 * OFFSET
    distances = numpy.concatenate([values - kink for kink in kinks])
    near = numpy.sort(numpy.concatenate([distances[abs(distances) < reach], [-reach, reach]]))
    widest = numpy.argmax(numpy.diff(near))
    step = round(-(near[widest] + near[widest + 1]) / 2 / OFFSET)
    return step, abs(distances + step * OFFSET).min()


def avoid_kinks(model, x):
    """Shifts the batch norms' biases; {name of the bias: steps} and the least margin."""
    names = {module: name for name, module in model.named_modules()}
    offsets, margins, latest, handles = {}, [], [], []

    def before_relu(module, arguments):
        kinks = KINKS[type(module)]
        channels = arguments[0].transpose(0, 1).flatten(1).numpy()
        found = [best_offset(values, kinks) for values in channels]
        steps = torch.tensor([step for step, _ in found])
        latest[-1].bias.data += steps * OFFSET
        offsets[names[latest[-1]] + ".bias"] = steps
        margins.extend(margin for _, margin in found)
        return (arguments[0] + (steps * OFFSET).reshape(1, -1, *[1] * (arguments[0].ndim - 2)),)

    for module in model.modules():
        biased = isinstance(module, (nn.Conv2d, nn.Linear)) and module.bias is not None
        if isinstance(module, nn.BatchNorm2d) or biased:
            handles.append(module.register_forward_hook(lambda norm, x, y: latest.append(norm)))
        elif type(module) in KINKS:
            handles.append(module.register_forward_pre_hook(before_relu))
    with torch.no_grad():
        model(x)
    for handle in handles:
        handle.remove()
    return offsets, min(margins, default=None)


def run_case(name):
    """({parameter: gradient in clquant's layout}, offsets)"""
    build, size, batch = CASES[name]
    model = build().double().train()
    fill(model)
    x = torch.from_numpy(4 * random("input", batch * size * size * 3) - 2).reshape(batch, size, size, 3)
    x = x.permute(0, 3, 1, 2).double().contiguous()
    offsets, margin = avoid_kinks(model, x)
    loss = F.cross_entropy(model(x), torch.arange(batch) % CLASSES)
    loss.backward()
    gradients = {name: to_clquant(parameter.grad.numpy()) for name, parameter in sorted(model.named_parameters())}
    print(f"{name}: {size}x{size}, batch {batch}: loss {loss.item():.6f}, "
          f"{sum(g.size for g in gradients.values())} parameters in {len(gradients)} tensors"
          + (f", margin {margin:.1e}" if margin else ""))
    return gradients, offsets, loss.item()


def scale_of(name, gradients):
    largest = abs(gradients[name]).max()
    weight = name.removesuffix("bias") + "weight"
    return largest if largest > 1e-9 else abs(gradients[weight]).max()


def signed_sums(name, gradient, run):
    signs = 1.0 - 2.0 * (philox.words(SEED, stream(name + " signs"), gradient.size) >> 31)
    products = numpy.zeros(-(-gradient.size // run) * run)
    products[:gradient.size] = signs * gradient.reshape(-1)
    return products.reshape(-1, run).sum(1)


def write_case(name):
    gradients, offsets, loss = run_case(name)
    taken = name in TORCHVISION
    run = LONG_RUN if taken else RUN
    vectors = [vector for vector in gradients if gradients[vector].ndim == 1 and (vector in offsets or not taken)]
    steps = [offsets.get(vector, torch.zeros(gradients[vector].size)) for vector in vectors]
    metadata = {"parameters": "\n".join(gradients)}
    if taken:
        metadata |= {"run": str(run), "moved": "\n".join(vectors)}
    single = lambda values: numpy.asarray(values, dtype=numpy.float32)
    positions = lambda count: numpy.arange(SAMPLES) * count // SAMPLES
    tensors.write(DATA / f"gradients-{name}.safetensors", {
        "scale": single([scale_of(parameter, gradients) for parameter in gradients]),
        "norm": single([numpy.sqrt((g * g).sum()) for g in gradients.values()]),
        "samples": single([g.reshape(-1)[positions(g.size)] for g in gradients.values()]),
        "sums": single(numpy.concatenate([signed_sums(*item, run) for item in gradients.items()])),
        "offsets": torch.cat(steps or [torch.zeros(1)]).to(torch.int8).numpy(),
        **({"loss": single([loss])} if taken else {}),
    }, metadata)


def compare_case(name, folder):
    """The largest difference of an element, by its gradient's scale."""
    expected, _, _ = run_case(name)
    worst = (0.0, "")
    actual = tensors.read(Path(folder) / f"{name}.safetensors")
    for parameter, gradient in expected.items():
        difference = abs(actual[parameter] - gradient).max() / scale_of(parameter, expected)
        worst = max(worst, (difference, parameter))
    print(f"{name}: {len(expected)} gradients, largest difference {worst[0]:.2e} of its scale, in {worst[1]}")
    return worst[0]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", metavar="PROGRAM", help="the built test, whose gradients are compared in full")
    parser.add_argument("--cases", type=lambda text: text.split(","), default=list(CASES), help=", ".join(CASES))
    options = parser.parse_args()
    if not options.full:
        for name in options.cases:
            write_case(name)
        return 0
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([options.full], check=True, env={**os.environ, "CLQ_TEST_ALL": "1", "CLQ_TEST_DUMP": folder})
        return 0 if max([compare_case(name, folder) for name in options.cases]) <= 1e-4 else 1


if __name__ == "__main__":
    sys.exit(main())
