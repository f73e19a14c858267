"""Writes an ONNX model in ncnn's format: `ncnn_export.py MODEL.onnx PREFIX` makes PREFIX.param and PREFIX.bin.

A QDQ model becomes an int8 network with the same weight codes. ncnn quantizes activations symmetrically to 127 levels
each side, so an activation's scale is that of the largest magnitude its codes can stand for.
"""
import os
import struct
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from rivals import graph as onnx_graph

INT8_TAG, FLOAT_TAG = 0x000D4B38, 0
MAX_POOL, AVERAGE_POOL, FLOOR_SIZES = 0, 1, 1


def symmetric_scale(quantization):
    """Codes per real unit."""
    magnitude = quantization.scale * max(quantization.zero_point, 255 - quantization.zero_point)
    return 127 / magnitude


class Exporter:
    def __init__(self, graph):
        self.graph = graph
        self.lines = [f"Input {graph.input} 0 1 {graph.input}"]
        self.weights = bytearray()
        self.blobs = 1
        self.readers = {}  # value -> layers that read it
        for layer in graph.layers:
            for name in layer.inputs:
                self.readers.setdefault(name, []).append(layer)
        self.copies = {}  # value -> names still to hand out
        self.split(graph.input)

    def split(self, value):
        """ncnn lets one layer read a blob; others read copies."""
        count = len(self.readers.get(value, []))
        if count > 1:
            self.copies[value] = [f"{value}/{i}" for i in range(count)]
            self.lines.append(f"Split {value}/split 1 {count} {value} {' '.join(self.copies[value])}")
            self.blobs += count

    def take(self, value):
        return self.copies[value].pop(0) if value in self.copies else value

    def put(self, op, layer, parameters):
        inputs = [self.take(name) for name in layer.inputs]
        text = " ".join(f"{key}={value}" for key, value in parameters.items())
        self.lines.append(f"{op} {layer.name} {len(inputs)} 1 {' '.join(inputs)} {layer.name} {text}")
        self.blobs += 1

    def put_activation(self, layer):
        """The ReLU of a residual addition, which ncnn does not fuse."""
        plain = f"{layer.name}/plain"
        self.lines[-1] = self.lines[-1].replace(f" {layer.name} 0=0", f" {plain} 0=0")
        self.lines.append(f"ReLU {layer.name}/relu 1 1 {plain} {layer.name}")
        self.blobs += 1

    def requantized_scale(self, layer):
        """The output's scale where all readers take int8, so that the layer may write codes; else None."""
        readers = self.readers.get(layer.name, [])
        if layer.op != "conv" or not readers or any(reader.op != "conv" for reader in readers):
            return None
        return symmetric_scale(self.graph.quantization[layer.name])

    def put_weights(self, layer):
        """Returns ncnn's int8_scale_term."""
        codes = layer.weight_scale is not None
        data = layer.weight.tobytes()
        self.weights += struct.pack("<I", INT8_TAG if codes else FLOAT_TAG) + data + bytes(-len(data) % 4)
        self.weights += layer.bias.astype("<f4").tobytes()
        if not codes:
            return 0
        self.weights += (1 / layer.weight_scale).astype("<f4").tobytes()
        self.weights += struct.pack("<f", symmetric_scale(self.graph.quantization[layer.inputs[0]]))
        term = 1 if layer.attributes.get("group", 1) > 1 else 2
        scale = self.requantized_scale(layer)
        if scale is None:
            return term
        self.weights += struct.pack("<f", scale)
        return term + 100

    def put_conv(self, layer):
        a = layer.attributes
        parameters = {0: layer.weight.shape[0], 1: a["kernel_shape"][1], 11: a["kernel_shape"][0],
                      2: a["dilations"][1], 12: a["dilations"][0], 3: a["strides"][1], 13: a["strides"][0],
                      4: a["pads"][1], 14: a["pads"][0], 15: a["pads"][3], 16: a["pads"][2], 5: 1,
                      6: layer.weight.size}
        if a["group"] > 1:
            parameters[7] = a["group"]
        parameters[8] = self.put_weights(layer)
        if layer.upper == float("inf"):
            parameters[9] = 1
        elif layer.upper is not None:
            parameters[9] = 3
            parameters[-23310] = f"2,0.0,{layer.upper}"
        self.put("ConvolutionDepthWise" if a["group"] > 1 else "Convolution", layer, parameters)

    def put_layer(self, layer):
        if layer.op == "conv":
            self.put_conv(layer)
        elif layer.op == "linear":
            self.put("InnerProduct", layer,
                     {0: layer.weight.shape[0], 1: 1, 2: layer.weight.size, 8: self.put_weights(layer)})
        elif layer.op == "add":
            self.put("BinaryOp", layer, {0: 0})
            if layer.upper is not None:
                self.put_activation(layer)
        elif layer.op == "max_pool":
            a = layer.attributes
            self.put("Pooling", layer, {0: MAX_POOL, 1: a["kernel_shape"][1], 2: a["strides"][1], 3: a["pads"][1],
                                        5: FLOOR_SIZES})
        else:
            self.put("Pooling", layer, {0: AVERAGE_POOL, 4: 1})
        self.split(layer.name)

    def write(self, prefix):
        for layer in self.graph.layers:
            self.put_layer(layer)
        with open(prefix + ".param", "w") as file:
            file.write(f"7767517\n{len(self.lines)} {self.blobs}\n" + "\n".join(self.lines) + "\n")
        with open(prefix + ".bin", "wb") as file:
            file.write(self.weights)


if __name__ == "__main__":
    Exporter(onnx_graph.read(sys.argv[1])).write(sys.argv[2])
