"""The rivals, each as a class: loads one model for one batch size and runs it on a fixed input.

`run()` returns the logits (batch, classes); `int8_layers()` says how many convolutions and linear layers really run in
int8, of how many. All use the given number of threads and compute FP32 models in FP32 throughout.
"""
import os
import tempfile
from importlib.metadata import version

import numpy as np


class OnnxRuntime:
    package = "onnxruntime"
    exact_products = False

    def __init__(self, model, inputs, threads):
        import onnxruntime
        self.runtime, self.model, self.threads = onnxruntime, model, threads
        self.session = onnxruntime.InferenceSession(model, self.options(), providers=["CPUExecutionProvider"])
        self.feed = {self.session.get_inputs()[0].name: inputs}

    def options(self):
        options = self.runtime.SessionOptions()
        options.intra_op_num_threads = self.threads
        if self.exact_products:
            options.add_session_config_entry("session.x64quantprecision", "1")
        return options

    def run(self):
        return self.session.run(None, self.feed)[0]

    def int8_layers(self):
        """Counts operators in the graph that ONNX Runtime's optimizer left."""
        import onnx
        options = self.options()
        with tempfile.TemporaryDirectory() as folder:
            options.optimized_model_filepath = os.path.join(folder, "optimized.onnx")
            options.log_severity_level = 3  # no warning that the file fits this machine only
            self.runtime.InferenceSession(self.model, options, providers=["CPUExecutionProvider"])
            ops = [node.op_type for node in onnx.load(options.optimized_model_filepath).graph.node]
        int8 = sum(op in ("QLinearConv", "QGemm", "QLinearMatMul") for op in ops)
        return int8, int8 + sum(op in ("Conv", "FusedConv", "Gemm", "FusedGemm", "MatMul") for op in ops)


class OnnxRuntimeExact(OnnxRuntime):
    """Without VNNI ONNX Runtime multiplies with vpmaddubsw, which saturates; this asks for exact products."""
    exact_products = True


class OpenVino:
    package = "openvino"

    def __init__(self, model, inputs, threads):
        import openvino
        network = openvino.Core().read_model(model)
        network.reshape(list(inputs.shape))
        self.compiled = openvino.Core().compile_model(network, "CPU", {
            "INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1, "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": "f32"})
        self.request = self.compiled.create_infer_request()
        self.inputs = inputs

    def run(self):
        return next(iter(self.request.infer([self.inputs], share_inputs=True).values()))

    def int8_layers(self):
        """Counts by the precisions of the compiled graph."""
        found = [node.get_rt_info() for node in self.compiled.get_runtime_model().get_ordered_ops()]
        kinds = [(info["layerType"].astype(str), info["runtimePrecision"].astype(str)) for info in found
                 if "layerType" in info]
        layers = [precision for kind, precision in kinds if kind in ("Convolution", "FullyConnected", "MatMul")]
        return sum(precision in ("u8", "i8") for precision in layers), len(layers)


class Ncnn:
    """Reads what ncnn_export.py wrote. ncnn has no batches: it takes the images one after another."""
    package = "ncnn"

    def __init__(self, model, inputs, threads):
        import ncnn
        self.net = ncnn.Net()
        self.net.opt.num_threads = threads
        self.net.opt.use_fp16_packed = self.net.opt.use_fp16_storage = self.net.opt.use_fp16_arithmetic = False
        self.net.opt.use_bf16_storage = False
        for status in (self.net.load_param(model + ".param"), self.net.load_model(model + ".bin")):
            if status != 0:
                raise RuntimeError(f"ncnn cannot load {model}: {status}")
        self.model = model
        self.images = [ncnn.Mat(image).clone() for image in inputs]

    def run(self):
        logits = []
        for image in self.images:
            extractor = self.net.create_extractor()
            extractor.input(self.net.input_names()[0], image)
            logits.append(np.array(extractor.extract(self.net.output_names()[0])[1]))
        return np.stack(logits)

    def int8_layers(self):
        """Counts by the exported int8_scale_term (key 8), without which ncnn refuses int8 weights."""
        with open(self.model + ".param") as file:
            layers = [line.split() for line in file if line.startswith(("Convolution", "InnerProduct"))]
        return sum("8=0" not in words for words in layers), len(layers)


class Torch:
    """The network built layer by layer from the ONNX file: traced, frozen and fused in FP32; FBGEMM's quantized
    operators in int8. Its peak memory includes the reading of the file."""
    package = "torch"

    def __init__(self, model, inputs, threads):
        import torch
        from rivals import graph, torch_build
        torch.set_num_threads(threads)
        self.torch = torch
        self.network = graph.read(model)
        self.inputs = torch.from_numpy(inputs).contiguous(memory_format=torch.channels_last)
        self.function = torch_build.build(self.network, self.inputs)

    def run(self):
        with self.torch.inference_mode():
            return self.function(self.inputs).numpy()

    def int8_layers(self):
        layers = [layer for layer in self.network.layers if layer.op in ("conv", "linear")]
        return sum(layer.weight_scale is not None for layer in layers), len(layers)


ENGINES = {"onnxruntime": OnnxRuntime, "onnxruntime-exact": OnnxRuntimeExact, "openvino": OpenVino, "ncnn": Ncnn,
           "torch": Torch}


def engine_version(name):
    return version(ENGINES[name].package)
