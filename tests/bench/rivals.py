#!/usr/bin/env python3
"""Times clquant beside ONNX Runtime, OpenVINO, ncnn and PyTorch on the same networks and number of threads.

    rivals.py [--models resnet50-224,...] [--precision fp32,int8] [--batch 1,8] [--only openvino,...] [--torch]
              [--rounds 5] [--iterations 10] [--threads N] [--clquant build/clquant] [--json FILE]

Installs the rivals from PyPI in a private virtual environment (--venv, .venv-rivals; --torch adds PyTorch, 2.5 GB to
download), makes the networks with clquant where --model-dir lacks them (NAME-fp32.onnx, NAME-int8.onnx), and has every
contestant take its turn in each round, in rotating order, so that drift of the machine hits all alike. A turn is
some warm-up and then `iterations` inferences. Rivals stay loaded in processes of their own; clquant is its command.

Printed for each contestant: the minimum over all rounds, the median of the rounds' medians, their spread (largest less
smallest round median, of the median), and how far its logits are from clquant's (relative L2 norm). FP32 must agree
to 0.1 %. In int8 the weights' codes are the same everywhere, but where and how activations are rounded is each
runtime's choice; a network computed wrongly is off by 100 % and more, and the gate is 30 %. clquant's own int8 results
are exact (`clquant verify`). Exit code 1: a contestant computes something else, or runs an int8 model in float.

What to know of the rivals' int8: without VNNI, ONNX Runtime, OpenVINO and PyTorch multiply with vpmaddubsw, which
saturates, so they do not compute the network exactly; "onnxruntime-exact" is ONNX Runtime with
session.x64quantprecision, which forbids that, and takes part where the processor lacks VNNI. ncnn quantizes activations
symmetrically, adds residuals in float and takes the images of a batch one after another.

Last, the peak resident memory of a process that runs the first int8 network once, less an idle one that only loaded the
library (for clquant: opened the OpenCL device), and for clquant the bound: weights, 1.5 times the two largest
activations, 64 MB.
"""
import argparse
import json
import os
import statistics
import sys
from pathlib import Path

from rivals import environment, report
from rivals.contestants import Clquant, Rival, clquant_memory
from rivals.networks import BUILT_IN, make_case

ROOT = Path(__file__).resolve().parents[2]
RIVALS = ["onnxruntime", "onnxruntime-exact", "openvino", "ncnn", "torch"]
IMAGES = 8  # synthetic ones in the networks' inputs, so the largest batch


def parse_options():
    names = lambda text: text.split(",")
    counts = lambda text: [int(part) for part in text.split(",")]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clquant", default=str(ROOT / "build" / "clquant"))
    parser.add_argument("--models", type=names, default=list(BUILT_IN), help=", ".join(BUILT_IN))
    parser.add_argument("--precision", type=names, default=["fp32", "int8"])
    parser.add_argument("--batch", type=counts, default=[1])
    parser.add_argument("--only", type=names, default=[], help="only these of " + ", ".join(RIVALS))
    parser.add_argument("--torch", action="store_true", help="PyTorch too")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--iterations", type=int, default=10)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--model-dir", type=Path, default=ROOT / "out-rivals")
    parser.add_argument("--venv", type=Path, default=ROOT / ".venv-rivals")
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    if max(options.batch) > IMAGES:
        parser.error(f"--batch: at most {IMAGES}")
    for option, known in (("models", list(BUILT_IN)), ("precision", ["fp32", "int8"]), ("only", RIVALS)):
        for name in getattr(options, option):
            if name not in known:
                parser.error(f"--{option}: no {name}; there are {', '.join(known)}")
    options.torch |= "torch" in options.only
    return options


def rivals_for(options, precision, cpu):
    left_out = set() if options.torch else {"torch"}
    if precision == "fp32" or environment.has_vnni(cpu):
        left_out.add("onnxruntime-exact")
    return [name for name in options.only or RIVALS if name not in left_out]


def race(contestants, options):
    """(minima, medians) of the rounds, by name."""
    turns = {one.name: [] for one in contestants}
    for number in range(options.rounds):
        first = number % len(contestants)
        for one in contestants[first:] + contestants[:first]:
            turns[one.name].append(one.turn(options.iterations))
    return {name: tuple(zip(*pairs)) for name, pairs in turns.items()}


def run_case(case, batch, options, python, cpu):
    """The rows of one network, precision and batch size."""
    contestants = [Clquant(options.clquant, case, batch)]
    contestants += [Rival(name, python, case, batch, options.threads)
                    for name in rivals_for(options, case.precision, cpu)]
    checks = {one.name: one.check() for one in contestants}
    times = race(contestants, options)
    rows = []
    for one in contestants:
        minima, medians = times[one.name]
        median = statistics.median(medians)
        rows.append({"model": case.name, "precision": case.precision, "batch": batch, "contestant": one.name,
                     "min_ms": min(minima), "median_ms": median, "spread": (max(medians) - min(medians)) / median,
                     **checks[one.name], **one.facts, "problem": report.problem_of(checks[one.name], case.precision)})
        one.close()
    return rows


def measure_memory(case, options, python, cpu):
    rows = [{"contestant": "clquant", **clquant_memory(options.clquant, case)}]
    for name in rivals_for(options, "int8", cpu):
        rival = Rival(name, python, case, 1, options.threads)
        rows.append({"contestant": name, **rival.memory()})
        rival.close()
    return {"model": case.name, "rows": rows, **report.memory_bound(python, case)}


def main():
    options = parse_options()
    environment.use_threads(options.threads)
    cpu = environment.processor()
    python = environment.python_with(options.venv, environment.PACKAGES + ["torch"] * options.torch)
    cases = [make_case(name, precision, options.model_dir, options.clquant, python, IMAGES)
             for name in options.models for precision in options.precision]
    rows = []
    for case in cases:
        for batch in options.batch:
            group = run_case(case, batch, options, python, cpu)
            report.print_case(group)
            rows += group
    result = {"schema": 1, "processor": cpu, "threads": options.threads, "rounds": options.rounds,
              "iterations": options.iterations, "rows": rows, "ratios": report.ratios(rows)}
    report.print_ratios(result)
    quantized = [case for case in cases if case.precision == "int8"]
    if quantized:
        result["memory"] = measure_memory(quantized[0], options, python, cpu)
        report.print_memory(result["memory"])
    report.print_setting(result)
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n")
    return 1 if any(row["problem"] for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
