#!/usr/bin/env python3
"""PyTorch's gradients of learned scales, in double precision, for tests/quant/test_learned_scales.c.

    learned_scales_reference.py             writes data/learned_scales.safetensors (needs torch, numpy)

The quantizers are those of the papers, with autograd through the straight-through rounding:

    LSQ   (Esser et al., 1902.08153)    xq = s round(clamp(x / s)), the scale's gradient times 1 / sqrt(N Q_p)
    LSQ+  (Bhalgat et al., 2004.09576)  xq = s (round(clamp(x / s + z)) - z), z = round(-offset / s)
    PACT  (Choi et al., 1805.06085)     xq = round(clip(x, 0, level) n / level) level / n, n codes above 0

An activation's case holds x (N, FEATURES), g (N, FEATURES) the gradient of xq, dx, and `numbers`: lowest code, highest code,
zero point, activation before (0 none, 1 relu, 2 relu6), kind (0 LSQ, 1 LSQ+, 2 PACT), scale, offset, level, and then the
gradients of scale or level, and offset. A weights' case holds w (OC, K), g, dw, scale (OC or 1), dscale, `numbers` lowest and highest.

x lies away from where rounding and clamping jump, so that FP32 and double quantize alike.
"""
import sys
from pathlib import Path

import numpy
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from torch_reference import tensors  # noqa: E402

N, FEATURES, OC, K = 3, 101, 5, 37
generator = numpy.random.default_rng(7)


def f32(values):
    return numpy.asarray(values, dtype=numpy.float32)


def leaf(values):
    return torch.tensor(numpy.asarray(f32(values), dtype=numpy.float64), requires_grad=True)


def round_through(x):
    return x + (x.round() - x).detach()


def scale_gradient(x, factor):
    return x * factor + (x * (1 - factor)).detach()


def steps(shape, lowest, highest):
    """Codes from twice the range, and up to 0.45 of a code beside them."""
    width = highest - lowest
    whole = generator.integers(int(lowest - width / 2), int(highest + width / 2), shape)
    return whole + generator.uniform(0.05, 0.45, shape) * generator.choice([-1, 1], shape)


ACTS = [lambda x: x, torch.relu, lambda x: torch.clamp(x, 0, 6)]


def activation(lowest, highest, zero, act, kind, scale):
    scale = float(f32(scale))
    offset = float(f32(-(zero + 0.3) * scale)) if kind == 1 else 0.0
    level = float(f32(scale * (highest - zero)))
    x = leaf(steps((N, FEATURES), lowest - zero, highest - zero) * scale)
    s, o, a = leaf(scale), leaf(offset), leaf(level)
    factor = 1 / (FEATURES * highest) ** 0.5
    y = ACTS[act](x)
    if kind == 2:
        n = highest - zero
        clipped = 0.5 * (y.abs() - (y - a).abs() + a)
        quantized = clipped + ((clipped * n / a).round() * a / n - clipped).detach()
    else:
        sg, og = scale_gradient(s, factor), scale_gradient(o, factor)
        z = round_through(-og / sg) if kind == 1 else torch.tensor(float(zero))
        assert float(z.detach()) == zero
        quantized = sg * (round_through(torch.clamp(y / sg, lowest - zero, highest - zero)) if kind == 0 else
                          round_through(torch.clamp(y / sg + z, lowest, highest)) - z)
    g = f32(generator.standard_normal((N, FEATURES)))
    quantized.backward(torch.tensor(g, dtype=torch.float64))
    first = a.grad if kind == 2 else s.grad
    numbers = [lowest, highest, zero, act, kind, scale, offset, level, float(first), float(o.grad) if kind == 1 else 0]
    return {"x": f32(x.detach().numpy()), "g": g, "dx": f32(x.grad.numpy()), "numbers": f32(numbers)}


def weights(lowest, highest, per_tensor):
    scale = f32(generator.uniform(0.01, 0.04, 1 if per_tensor else OC))
    w = leaf(steps((OC, K), lowest, highest) * scale.reshape(-1, 1))
    s = leaf(scale)
    factor = 1 / ((OC if per_tensor else 1) * K * highest) ** 0.5
    sg = scale_gradient(s, factor).reshape(-1, 1)
    quantized = sg * round_through(torch.clamp(w / sg, lowest, highest))
    g = f32(generator.standard_normal((OC, K)))
    quantized.backward(torch.tensor(g, dtype=torch.float64))
    return {"w": f32(w.detach().numpy()), "g": g, "dw": f32(w.grad.numpy()), "scale": scale, "dscale": f32(s.grad.numpy()),
            "numbers": f32([lowest, highest])}


CASES = {
    "lsq_u8_relu": activation(0, 255, 0, 1, 0, 0.021),
    "lsq_u8_affine": activation(0, 255, 97, 0, 0, 0.013),
    "lsq_u4_relu6": activation(0, 15, 0, 2, 0, 0.43),
    "lsq_s4": activation(-8, 7, 0, 0, 0, 0.31),
    "lsq_plus_u8": activation(0, 255, 61, 0, 1, 0.017),
    "lsq_plus_u4": activation(0, 15, 5, 0, 1, 0.29),
    "pact_u8": activation(0, 255, 0, 1, 2, 0.019),
    "pact_u4": activation(0, 15, 0, 1, 2, 0.35),
    "weights_s8_narrow": weights(-127, 127, False),
    "weights_s4": weights(-8, 7, False),
    "weights_s4_per_tensor": weights(-8, 7, True),
}

if __name__ == "__main__":
    flat = {f"{case}.{name}": array for case, arrays in CASES.items() for name, array in arrays.items()}
    tensors.write(Path(__file__).parent / "data" / "learned_scales.safetensors", flat, {"torch": torch.__version__})
