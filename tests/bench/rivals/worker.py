"""One rival with one model in a process of its own, driven by lines on stdin; answers are JSON lines on stdout.

    worker.py ENGINE MODEL INPUTS.npy BATCH THREADS

First answer: {"version", "idle_bytes"}, the resident memory with the rival's library loaded and no model. Commands:
`time N` -> {"samples_ms"}, `compare LOGITS.npy` -> {"relative_difference", "top1_agreement"}, `layers` ->
{"int8_layers", "layers"}, `memory` -> {"peak_bytes"}. Ends at the end of stdin.
"""
import importlib
import json
import os
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
import numpy as np
from rivals.engines import ENGINES, engine_version


def memory_of_status(key):
    """VmRSS or VmHWM of this process in bytes."""
    with open("/proc/self/status") as file:
        return next(1024 * int(line.split()[1]) for line in file if line.startswith(key))


def compare(engine, path):
    expected = np.load(path)[: len(engine.run())]
    logits = engine.run()
    return {"relative_difference": float(np.linalg.norm(logits - expected) / np.linalg.norm(expected)),
            "top1_agreement": float((logits.argmax(1) == expected.argmax(1)).mean())}


def samples(engine, count):
    times = []
    for _ in range(count):
        start = time.perf_counter()
        engine.run()
        times.append(1e3 * (time.perf_counter() - start))
    return times


def answer(engine, command, argument):
    if command == "time":
        return {"samples_ms": samples(engine, int(argument))}
    if command == "compare":
        return compare(engine, argument)
    if command == "layers":
        int8, layers = engine.int8_layers()
        return {"int8_layers": int8, "layers": layers}
    engine.run()
    return {"peak_bytes": memory_of_status("VmHWM")}


def main():
    name, model, inputs, batch, threads = sys.argv[1:]
    answers = os.fdopen(os.dup(1), "w")  # libraries may print; keep that away from the answers
    os.dup2(2, 1)
    importlib.import_module(ENGINES[name].package)
    say = lambda value: print(json.dumps(value), file=answers, flush=True)
    say({"version": engine_version(name), "idle_bytes": memory_of_status("VmRSS")})
    engine = ENGINES[name](model, np.load(inputs)[: int(batch)], int(threads))
    for line in sys.stdin:
        command, _, argument = line.strip().partition(" ")
        say(answer(engine, command, argument))


if __name__ == "__main__":
    main()
