"""Builds a function of PyTorch operators from a graph.Graph."""
import math

import torch
import torch.nn.functional as F


def _float_step(layer):
    a = layer.attributes
    if layer.op in ("conv", "linear"):
        weight, bias = torch.from_numpy(layer.weight.copy()), torch.from_numpy(layer.bias.copy())
    if layer.op == "conv":
        weight = weight.contiguous(memory_format=torch.channels_last)
        step = lambda x: F.conv2d(x, weight, bias, a["strides"], a["pads"][:2], a["dilations"], a["group"])
    elif layer.op == "linear":
        step = lambda x: F.linear(x, weight, bias)
    elif layer.op == "add":
        step = torch.add
    elif layer.op == "max_pool":
        step = lambda x: F.max_pool2d(x, a["kernel_shape"], a["strides"], a["pads"][:2])
    else:
        step = lambda x: F.adaptive_avg_pool2d(x, 1).flatten(1)
    if layer.upper is None:
        return step
    if layer.upper == math.inf:
        return lambda *x: F.relu(step(*x))
    return lambda *x: F.hardtanh(step(*x), 0.0, layer.upper)


def _quantized_weight(layer):
    scales = torch.from_numpy(layer.weight_scale.copy())
    real = torch.from_numpy(layer.weight.astype("float32")) * scales.reshape([-1] + [1] * (layer.weight.ndim - 1))
    return torch.quantize_per_channel(real, scales.double(), torch.zeros(len(scales), dtype=torch.long), 0, torch.qint8)


def _int8_step(layer, quantization):
    a, ops = layer.attributes, torch.ops.quantized
    source, out = quantization.get(layer.inputs[0]), quantization.get(layer.name)
    if layer.op in ("conv", "linear"):
        weight, bias = _quantized_weight(layer), torch.from_numpy(layer.bias.copy())
    if layer.op == "conv":
        packed = ops.conv2d_prepack(weight, bias, a["strides"], a["pads"][:2], a["dilations"], a["group"])
        # the codes of a ReLU6 end at 6, so clamping to codes is all of its upper bound
        run = ops.conv2d if layer.upper is None else ops.conv2d_relu
        return lambda x: run(x, packed, out.scale, out.zero_point)
    if layer.op == "linear" and out is None:  # float logits
        packed = ops.linear_prepack(weight, bias)
        run = ops.linear_with_input_q_dq_qweight_dq_output_fp32
        return lambda x: run(x.dequantize(), source.scale, source.zero_point, packed)
    if layer.op == "linear":
        packed = ops.linear_prepack(weight, bias)
        return lambda x: ops.linear(x, packed, out.scale, out.zero_point)
    if layer.op == "add":
        run = ops.add if layer.upper is None else ops.add_relu
        return lambda x, y: run(x, y, out.scale, out.zero_point)
    return _float_step(layer)  # pools keep the scale of their input


def _chain(graph, steps):
    def forward(x):
        values = {graph.input: x}
        for layer, step in zip(graph.layers, steps):
            values[layer.name] = step(*(values[name] for name in layer.inputs))
        return values[graph.output]
    return forward


def build(graph, inputs):
    """Returns a function of a (batch, channels, height, width) tensor like `inputs`."""
    first = graph.quantization.get(graph.input)
    if first:
        network = _chain(graph, [_int8_step(layer, graph.quantization) for layer in graph.layers])
        return lambda x: network(torch.quantize_per_tensor(x, first.scale, first.zero_point, torch.quint8))
    network = _chain(graph, [_float_step(layer) for layer in graph.layers])

    class Module(torch.nn.Module):
        def forward(self, x):
            return network(x)

    with torch.inference_mode():
        return torch.jit.optimize_for_inference(torch.jit.freeze(torch.jit.trace(Module().eval(), inputs)))
