#!/usr/bin/env python3
"""Kills `clquant train` with SIGKILL at random moments, resumes it each time, and compares what it
leaves in the end, byte for byte, with a training that nobody disturbed.

    tests/train/kill_points.py build/clquant [--kills 50] [--seed 1]

Everything that has state is on: momentum, weight averages, clipping, label smoothing, augmentation,
mixup, on a ResNet-20 with batch norms. Prints where each kill struck. Not part of the test suite,
which has fewer kills (tests/cli/test_job.c) and fifty stops (tests/train/test_resume.c)."""

import argparse
import hashlib
import json
import pathlib
import random
import re
import subprocess
import sys
import tempfile
import time

DATA = "synthetic:train=1024,test=64,size=16"
RECIPE = {
    "name": "kill-points",
    "network": {"name": "resnet20", "seed": 3},
    "train": {
        "epochs": 3, "batch": 32, "checkpoint_steps": 1, "clip_norm": 1.0, "label_smoothing": 0.05,
        "ema": {"decay": 0.99}, "schedule": {"lr": 0.05},
        "augment": {"crop_padding": 2, "flip": True, "rotation": 20, "brightness": 0.3, "hue": 0.1,
                    "erase": {"probability": 0.5}, "mixup": {"alpha": 0.2, "probability": 0.5}},
    },
}


def command(clquant, recipe, out):
    return [clquant, "train", recipe, "--data", DATA, "--out", out, "--resume", "--quiet"]


def newest_step(out):
    steps = [int(m.group(1)) for p in out.glob("*.safetensors")
             if (m := re.fullmatch(r"train-checkpoint-(\d+)\.safetensors", p.name))]
    return max(steps, default=0)


def hashes(out):
    """Of the files that two equal trainings share: all but the timing in the history."""
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest()
            for p in sorted(out.iterdir()) if p.suffix in (".safetensors", ".onnx")}


def kill_until_done(line, out, rng, longest, kills, most):
    """Starts and kills one training until it is done; the number of kills so far."""
    while kills < most:
        process = subprocess.Popen(line)
        try:
            process.wait(0.1 + rng.uniform(0, longest))
            break
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            kills += 1
            print(f"kill {kills}: newest checkpoint {newest_step(out)}", flush=True)
    subprocess.run(line, check=True)
    return kills


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("clquant", type=pathlib.Path)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    clquant, rng = str(options.clquant.resolve()), random.Random(options.seed)
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        recipe, whole = folder / "recipe.json", folder / "whole"
        recipe.write_text(json.dumps(RECIPE))
        start = time.monotonic()
        subprocess.run(command(clquant, recipe, whole), check=True)
        seconds, steps = time.monotonic() - start, newest_step(whole)
        print(f"seed {options.seed}; undisturbed: {steps} steps in {seconds:.1f} s")
        kills = rounds = 0
        while kills < options.kills:
            rounds += 1
            killed = folder / f"killed-{rounds}"
            kills = kill_until_done(command(clquant, recipe, killed), killed, rng,
                                    2 * seconds / options.kills + 0.5, kills, options.kills)
            if hashes(whole) != hashes(killed):
                sys.exit(f"FAILED: {hashes(whole)} and {hashes(killed)} differ")
        print(f"{kills} kills in {rounds} trainings, same bits: {', '.join(hashes(whole))}")


if __name__ == "__main__":
    main()
