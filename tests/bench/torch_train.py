#!/usr/bin/env python3
"""Times clquant's training step beside PyTorch's: the same networks, batches and number of threads, in turns.

    torch_train.py [--networks resnet20:128,resnet50:32,resnet18:64] [--rounds 3] [--iterations 5] [--threads 2]
                   [--clquant build/clquant] [--json FILE]
    torch_train.py --device cuda --opencl gpu            PyTorch on the GPU (TF32 off), clquant on OpenCL device "gpu"

A step is forward, cross-entropy, backward and SGD with Nesterov momentum and weight decay, of a network with the CIFAR stem on
32x32 random images that lie on the device. clquant's is measured by `clquant bench --train --qat`, PyTorch's here: eager, FP32,
with its default libraries (oneDNN, cuDNN with its own search), once channels last and once in its default layout. In each round all
take a turn: one step of warm-up at least, then `iterations` steps.

Printed are minima over all rounds and medians of the rounds' medians. "torch/clquant" is PyTorch's faster layout over clquant, so
above 1 clquant is faster; "of peak" sets three times the forward's operations against the FP32 peak of the best round.

Without PyTorch a virtual environment with it is made (--venv, .venv-rivals; 2.5 GB to download); --python PATH uses that
interpreter as it is, and leaves PyTorch out if it has none (with --device cuda: or has no GPU).
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from rivals import environment, report  # noqa: E402

try:
    import torch
    from torch_reference import networks
except ImportError:
    torch = None

LAYOUTS = ("channels_last", "contiguous")


def parse_options():
    def pairs(text):
        return [(name, int(batch)) for name, batch in (part.split(":") for part in text.split(","))]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", type=pairs, default=pairs("resnet20:128,resnet50:32,resnet18:64"))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--iterations", type=int, default=5)
    parser.add_argument("--warmup", type=int, default=2)
    parser.add_argument("--threads", type=int, default=min(2, len(os.sched_getaffinity(0))), help="on CPUs")
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"], help="PyTorch's")
    parser.add_argument("--opencl", help="clquant's (default: as --device)")
    parser.add_argument("--clquant", default=str(ROOT / "build" / "clquant"))
    parser.add_argument("--python", help="interpreter with PyTorch")
    parser.add_argument("--venv", type=Path, default=ROOT / ".venv-rivals")
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    options.opencl = options.opencl or ("cpu" if options.device == "cpu" else "gpu")
    return options


def enter_python_with_torch(options):
    """Starts again in the interpreter that is to be used, unless this is it."""
    python = options.python
    if not python and torch is None:
        python = environment.python_with(options.venv, ["numpy", "torch"])
    if python and "CLQ_TORCH_TRAIN" not in os.environ:
        os.environ["CLQ_TORCH_TRAIN"] = "1"
        os.execvp(python, [str(python), *sys.argv])


class Clquant:
    """Both of its steps; "train" and "qat"."""

    def __init__(self, options, network, batch):
        self.command = [options.clquant, "bench", "--train", network, "--stem", "cifar", "--batch", str(batch), "--qat",
                        "--device", options.opencl, "--iterations", str(options.iterations), "--warmup",
                        str(options.warmup), "--json", "--quiet"]

    def turn(self):
        text = subprocess.run(self.command, check=True, capture_output=True, text=True).stdout
        return {result["mode"]: result for result in json.loads(text)["results"]}


class Torch:
    def __init__(self, options, network, batch, layout):
        self.options, self.layout = options, layout
        form = torch.channels_last if layout == "channels_last" else torch.contiguous_format
        torch.manual_seed(1)
        self.model = networks.build(network).train().to(options.device, memory_format=form)
        self.x = torch.randn(batch, 3, 32, 32, device=options.device).contiguous(memory_format=form)
        self.labels = torch.arange(batch, device=options.device) % 10
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0, momentum=0.9, nesterov=True, weight_decay=5e-4)

    def step(self):
        self.optimizer.zero_grad(set_to_none=True)
        torch.nn.functional.cross_entropy(self.model(self.x), self.labels).backward()
        self.optimizer.step()
        if self.options.device == "cuda":
            torch.cuda.synchronize()

    def turn(self):
        for _ in range(self.options.warmup):
            self.step()
        times = []
        for _ in range(self.options.iterations):
            start = time.perf_counter()
            self.step()
            times.append(1e3 * (time.perf_counter() - start))
        return {self.layout: {"step_ms": {"min": min(times), "median": statistics.median(times)}}}


def summary(turns):
    """One contestant's row from its turns."""
    row = {"min_ms": min(turn["step_ms"]["min"] for turn in turns),
           "median_ms": statistics.median(turn["step_ms"]["median"] for turn in turns)}
    if "gflops" in turns[0]:
        best = max(turns, key=lambda turn: turn["peak_gflops"])
        row["gflops"] = best["gflops"] * best["step_ms"]["median"] / row["min_ms"]
        row["peak_gflops"] = best["peak_gflops"]
        row["peak_fraction"] = row["gflops"] / row["peak_gflops"]
    return row


def run_network(options, network, batch):
    contestants = [Clquant(options, network, batch)]
    if torch is not None:
        contestants += [Torch(options, network, batch, layout) for layout in LAYOUTS]
    turns = {}
    for _ in range(options.rounds):
        for contestant in contestants:
            for name, turn in contestant.turn().items():
                turns.setdefault(name, []).append(turn)
    rows = {name: summary(of_one) for name, of_one in turns.items()}
    ours, qat = rows["train"], rows["qat"]
    result = {"network": network, "batch": batch, "rows": rows, "qat_over_train": qat["min_ms"] / ours["min_ms"],
              "qat_over_train_median": qat["median_ms"] / ours["median_ms"]}
    if torch is not None:
        for kind in ("min_ms", "median_ms"):
            result["torch_over_clquant_" + kind[:-3]] = min(rows[name][kind] for name in LAYOUTS) / ours[kind]
    return result


def print_network(result):
    titles = {"train": "clquant", "qat": "clquant, quantization-aware", "channels_last": "PyTorch, channels last",
              "contiguous": "PyTorch, default layout"}
    lines = [[titles[name], f"{row['min_ms']:.1f}", f"{row['median_ms']:.1f}", f"{1e3 * result['batch'] / row['min_ms']:.0f}",
              f"{100 * row['peak_fraction']:.0f} %" if "peak_fraction" in row else "-"]
             for name, row in result["rows"].items()]
    report.print_table([f"{result['network']}, batch {result['batch']}", "min ms", "median", "img/s", "of peak"], lines)


def print_ratios(results):
    lines = [[f"{r['network']}, batch {r['batch']}",
              f"{r['torch_over_clquant_min']:.2f}" if "torch_over_clquant_min" in r else "-",
              f"{r['torch_over_clquant_median']:.2f}" if "torch_over_clquant_median" in r else "-",
              f"{r['qat_over_train']:.2f}", f"{r['qat_over_train_median']:.2f}",
              f"{100 * r['rows']['train']['peak_fraction']:.0f} %"] for r in results]
    report.print_table(["ratios", "torch/clquant", "of medians", "qat/fp32", "of medians", "of peak"], lines)


def main():
    global torch
    options = parse_options()
    enter_python_with_torch(options)
    if torch is not None and options.device == "cuda" and not torch.cuda.is_available():
        torch = None
    if torch is None:
        print("no PyTorch for this device here: clquant alone", file=sys.stderr)
    elif options.device == "cuda":
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
        torch.backends.cudnn.benchmark = True
    if options.device == "cpu":
        environment.use_threads(options.threads)
        if torch is not None:
            torch.set_num_threads(options.threads)
    cpu, results = environment.processor(), []
    for network, batch in options.networks:
        results.append(run_network(options, network, batch))
        print_network(results[-1])
    print_ratios(results)
    version = torch.__version__ if torch is not None else None
    place = f"{options.threads} threads" if options.device == "cpu" else torch and torch.cuda.get_device_name()
    print(f"{cpu['name']}, {' '.join(cpu['instruction_sets'])}; {place}; PyTorch {version}; {options.rounds} rounds of "
          f"{options.iterations} steps")
    if options.json:
        options.json.write_text(json.dumps({"schema": 1, "processor": cpu, "place": place, "torch": version,
                                            "rounds": options.rounds, "iterations": options.iterations,
                                            "results": results}, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
