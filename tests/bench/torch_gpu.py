#!/usr/bin/env python3
"""PyTorch's speed on the GPU for the networks that scripts/gpu-check measures, as JSON on stdout.

    torch_gpu.py [--sizes 32,224] [--batches 1,32,256] [--seconds 1]

ResNet-50 with random weights in evaluation mode, channels last, cuDNN's own search on, in FP32 with and without TF32
and in FP16. `graph` replays a CUDA graph, which leaves out the cost of launching from Python. Exit code 77 where
PyTorch or a CUDA device is missing.
"""
import argparse
import json
import statistics
import sys
import time

try:
    import torch
    from torch import nn
except ImportError:
    sys.exit(77)


class Bottleneck(nn.Module):
    def __init__(self, inputs, width, stride):
        super().__init__()
        outputs = 4 * width

        def conv(ic, oc, kernel, step):
            return nn.Sequential(nn.Conv2d(ic, oc, kernel, step, kernel // 2, bias=True))

        # Batch norms are folded, as clquant folds them.
        self.body = nn.Sequential(conv(inputs, width, 1, 1), nn.ReLU(inplace=True),
                                  conv(width, width, 3, stride), nn.ReLU(inplace=True),
                                  conv(width, outputs, 1, 1))
        same = stride == 1 and inputs == outputs
        self.shortcut = nn.Identity() if same else conv(inputs, outputs, 1, stride)

    def forward(self, x):
        return torch.relu(self.body(x) + self.shortcut(x))


def resnet50(size, classes):
    """The stem for small images is one 3x3 convolution."""
    if size <= 64:
        layers = [nn.Conv2d(3, 64, 3, 1, 1), nn.ReLU(inplace=True)]
    else:
        layers = [nn.Conv2d(3, 64, 7, 2, 3), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1)]
    inputs = 64
    for stage, blocks in enumerate((3, 4, 6, 3)):
        width = 64 << stage
        for block in range(blocks):
            layers.append(Bottleneck(inputs, width, 2 if stage > 0 and block == 0 else 1))
            inputs = 4 * width
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, classes)]
    return nn.Sequential(*layers)


def capture(run):
    """A CUDA graph of run(), to be replayed."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            run()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        run()
    return graph.replay


def measure(run, seconds):
    """The median of one call, in seconds."""
    for _ in range(3):
        run()
    torch.cuda.synchronize()
    times, end = [], time.perf_counter() + seconds
    while len(times) < 10 or time.perf_counter() < end:
        start = time.perf_counter()
        run()
        torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", default="32,224")
    parser.add_argument("--batches", default="1,32,256")
    parser.add_argument("--seconds", type=float, default=1)
    options = parser.parse_args()
    if not torch.cuda.is_available():
        return 77
    torch.backends.cudnn.benchmark = True
    torch.manual_seed(1)
    results = []
    for size in map(int, options.sizes.split(",")):
        for batch in map(int, options.batches.split(",")):
            for precision in ("fp32", "tf32", "fp16"):
                torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = precision == "tf32"
                kind = torch.float16 if precision == "fp16" else torch.float32
                model = resnet50(size, 10).eval().to("cuda", kind, memory_format=torch.channels_last)
                x = torch.randn(batch, 3, size, size, device="cuda", dtype=kind)
                x = x.contiguous(memory_format=torch.channels_last)
                with torch.inference_mode():
                    eager = measure(lambda: model(x), options.seconds)
                    graph = measure(capture(lambda: model(x)), options.seconds)
                for launch, median in (("eager", eager), ("graph", graph)):
                    results.append({"model": f"resnet50-{size}", "batch": batch, "precision": precision,
                                    "launch": launch, "latency_ms": {"median": 1e3 * median},
                                    "images_per_second": batch / median})
    json.dump({"torch": torch.__version__, "device": torch.cuda.get_device_name(), "results": results},
              sys.stdout, indent=2)
    print()
    return 0


if __name__ == "__main__":
    sys.exit(main())
