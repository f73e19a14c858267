#!/usr/bin/env python3
"""Times clquant beside ONNX Runtime on the same models and the same number of threads, in alternation.

    rivals.py --clquant build/clquant MODEL.onnx [MODEL.onnx ...] [--batch 1] [--rounds 5] [--iterations 20] [--json FILE]

A round runs every model in clquant and then in the rival, so that drift of the machine hits both alike. Prints
minimum and median over all rounds and the ratio rival / clquant (above 1: clquant is faster). QDQ models run as
integer networks in both. Needs numpy and onnxruntime (in a virtual environment, for instance).
"""
import argparse
import json
import os
import statistics
import subprocess
import time

import numpy as np
import onnxruntime as ort


def clquant_times(clquant, model, batch, iterations):
    """One round: (minimum, median, result) in ms."""
    text = subprocess.run([clquant, "bench", model, "--batch", str(batch), "--iterations", str(iterations), "--json",
                           "--quiet"], check=True, capture_output=True, text=True).stdout
    result = json.loads(text)["results"][0]
    return result["latency_ms"]["min"], result["latency_ms"]["median"], result


class OnnxRuntime:
    name = "onnxruntime " + ort.__version__

    def __init__(self, model, batch, threads):
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        self.session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        inputs = self.session.get_inputs()[0]
        shape = [batch] + [int(d) for d in inputs.shape[1:]]
        self.feed = {inputs.name: np.random.default_rng(0).standard_normal(shape).astype(np.float32)}

    def times(self, iterations):
        samples = []
        for i in range(iterations + 3):
            start = time.perf_counter()
            self.session.run(None, self.feed)
            samples.append(1e3 * (time.perf_counter() - start))
        return min(samples[3:]), statistics.median(samples[3:])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+")
    parser.add_argument("--clquant", default="build/clquant")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--iterations", type=int, default=20)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--json")
    options = parser.parse_args()

    rivals = {model: OnnxRuntime(model, options.batch, options.threads) for model in options.models}
    ours = {model: [] for model in options.models}
    theirs = {model: [] for model in options.models}
    for _ in range(options.rounds):
        for model in options.models:
            ours[model].append(clquant_times(options.clquant, model, options.batch, options.iterations))
            theirs[model].append(rivals[model].times(options.iterations))

    rows = []
    for model in options.models:
        best, rival_best = min(t[0] for t in ours[model]), min(t[0] for t in theirs[model])
        middle = statistics.median(t[1] for t in ours[model])
        rival_middle = statistics.median(t[1] for t in theirs[model])
        result = ours[model][0][2]
        rows.append({"model": os.path.basename(model), "precision": result["precision"], "dot_path": result["dot_path"],
                     "batch": options.batch, "rival": OnnxRuntime.name, "clquant_min_ms": best,
                     "clquant_median_ms": middle, "rival_min_ms": rival_best, "rival_median_ms": rival_middle,
                     "ratio_min": rival_best / best, "ratio_median": rival_middle / middle,
                     "peak_fraction": max(t[2]["peak_fraction"] for t in ours[model])})
    print(f"{'model':24} {'':14} {'clquant min':>12} {'median':>9} {'rival min':>10} {'median':>9} {'ratio':>6} {'% peak':>7}")
    for row in rows:
        print(f"{row['model']:24} {row['precision'] + ' ' + row['dot_path']:14} {row['clquant_min_ms']:12.2f} "
              f"{row['clquant_median_ms']:9.2f} {row['rival_min_ms']:10.2f} {row['rival_median_ms']:9.2f} "
              f"{row['ratio_min']:6.2f} {100 * row['peak_fraction']:7.1f}")
    print(f"rival: {OnnxRuntime.name}, {options.threads} threads, batch {options.batch}")
    if options.json:
        with open(options.json, "w") as file:
            json.dump({"schema": 1, "rows": rows}, file, indent=2)


if __name__ == "__main__":
    main()
