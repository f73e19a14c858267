#!/usr/bin/env python3
"""Makes the files of this folder: small networks trained and exported by other programs.

    pip install torch onnx onnxruntime onnxscript safetensors
    python3 make_reference.py

tiny        a network with everything that clquant reads: 7x7 stem, max pool, residual block with
            1x1 shortcut, depthwise convolution, ReLU6, flatten of 2x2 pixels, dropout, two linear layers
shortcut_a  a CIFAR ResNet block with an option-A shortcut (strided slice, zero channels)

For each:   NAME.safetensors   state dict under torch's names, after some steps of SGD
            NAME_trained.onnx  torch.onnx.export with BatchNormalization and Dropout left in place
            NAME_eval.onnx     torch.onnx.export as most people call it: batch norm folded by torch
            NAME_dynamo.onnx   torch.onnx.export(dynamo=True)
            NAME_qdq.onnx      quantized by ONNX Runtime (quantize_static, per channel, u8 s8)
            NAME_io.safetensors  "input" (N, C, H, W), "logits" by torch, "logits_qdq" by ONNX
                               Runtime with graph optimizations off
"""
import logging
import os
import warnings

import numpy
import onnx
import onnxruntime
import torch
import torch.nn.functional as F
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from safetensors.torch import save_file
from torch import nn

HERE = os.path.dirname(os.path.abspath(__file__))
SIZE = 16
CLASSES = 5


class Block(nn.Module):
    def __init__(self, channels_in, channels_out, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels_out, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels_out)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(channels_out, channels_out, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels_out)

    def shortcut(self, x):
        return x

    def forward(self, x):
        y = self.relu(self.bn1(self.conv1(x)))
        return self.relu(self.bn2(self.conv2(y)) + self.shortcut(x))


class Projection(Block):
    def __init__(self, channels_in, channels_out, stride):
        super().__init__(channels_in, channels_out, stride)
        self.downsample = nn.Sequential(
            nn.Conv2d(channels_in, channels_out, 1, stride, bias=False), nn.BatchNorm2d(channels_out))

    def shortcut(self, x):
        return self.downsample(x)


class OptionA(Block):
    def __init__(self, channels_in, channels_out, stride):
        super().__init__(channels_in, channels_out, stride)
        self.zeros = (channels_out - channels_in) // 2

    def shortcut(self, x):
        return F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.zeros, self.zeros))


class Tiny(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 4, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(4)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        self.layer1 = nn.Sequential(Block(4, 4, 1), Projection(4, 6, 2))
        self.depthwise = nn.Sequential(
            nn.Conv2d(6, 6, 3, 1, 1, groups=6, bias=False), nn.BatchNorm2d(6), nn.ReLU6(inplace=True))
        self.fc1 = nn.Linear(6 * 2 * 2, 8)
        self.dropout = nn.Dropout(0.25)
        self.fc = nn.Linear(8, CLASSES)

    def forward(self, x):
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.depthwise(self.layer1(x))
        x = self.relu(self.fc1(torch.flatten(x, 1)))
        return self.fc(self.dropout(x))


class ShortcutA(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 4, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(4)
        self.relu = nn.ReLU(inplace=True)
        self.layer1 = nn.Sequential(Block(4, 4, 1))
        self.layer2 = nn.Sequential(OptionA(4, 8, 2))
        self.fc = nn.Linear(8, CLASSES)

    def forward(self, x):
        x = self.layer2(self.layer1(self.relu(self.bn1(self.conv1(x)))))
        x = F.avg_pool2d(x, x.size(3))
        return self.fc(x.view(x.size(0), -1))


def train(network):
    """A few steps, so that batch norm statistics and weights are not at their initial values."""
    optimizer = torch.optim.SGD(network.parameters(), lr=0.05, momentum=0.9)
    network.train()
    for _ in range(20):
        x = torch.randn(16, 3, SIZE, SIZE)
        target = (x.mean((2, 3)).argmax(1) + 1) % CLASSES
        optimizer.zero_grad()
        F.cross_entropy(network(x), target).backward()
        optimizer.step()


class Images(CalibrationDataReader):
    def __init__(self, images):
        self.left = [{"input": image[None]} for image in images]

    def get_next(self):
        return self.left.pop() if self.left else None


def run(path, x):
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return session.run(None, {"input": x})[0]


def strip(path):
    """Drops what only serves debugging, so that the files stay small."""
    model = onnx.load(path)
    for node in model.graph.node:
        node.doc_string = ""
        del node.metadata_props[:]
    for value in list(model.graph.value_info) + list(model.graph.input) + list(model.graph.output):
        del value.metadata_props[:]
    del model.graph.metadata_props[:]
    del model.graph.value_info[:]
    onnx.save(model, path)


def make(name, network):
    path = os.path.join(HERE, name)
    train(network)
    x = torch.randn(3, 3, SIZE, SIZE)
    common = {"input_names": ["input"], "output_names": ["logits"], "opset_version": 13}
    axes = {"input": {0: "N"}, "logits": {0: "N"}}
    example = torch.zeros(1, 3, SIZE, SIZE)
    # Exporting in training mode runs the network once, which moves the batch norm statistics.
    torch.onnx.export(network, example, path + "_trained.onnx", dynamo=False, dynamic_axes=axes,
                      training=torch.onnx.TrainingMode.TRAINING, do_constant_folding=False, **common)
    network.eval()
    save_file(network.state_dict(), path + ".safetensors")
    logits = network(x).detach()
    torch.onnx.export(network, example, path + "_eval.onnx", dynamo=False, dynamic_axes=axes, **common)
    torch.onnx.export(network, example, path + "_dynamo.onnx", dynamo=True, external_data=False,
                      input_names=["input"], output_names=["logits"])
    quantize_static(path + "_eval.onnx", path + "_qdq.onnx", Images(torch.randn(32, 3, SIZE, SIZE).numpy()),
                    quant_format=QuantFormat.QDQ, per_channel=True,
                    activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8)
    for kind in ("_trained", "_eval", "_dynamo", "_qdq"):
        strip(path + kind + ".onnx")
    assert numpy.abs(run(path + "_eval.onnx", x.numpy()) - logits.numpy()).max() < 1e-4
    save_file({"input": x, "logits": logits,
               "logits_qdq": torch.from_numpy(run(path + "_qdq.onnx", x.numpy()))},
              path + "_io.safetensors")
    for kind in (".safetensors", "_io.safetensors"):
        os.chmod(path + kind, 0o644)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    torch.manual_seed(7)
    make("tiny", Tiny())
    make("shortcut_a", ShortcutA())
