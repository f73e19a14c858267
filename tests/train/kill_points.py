#!/usr/bin/env python3
"""Kills `clquant train` with SIGKILL at random moments, resumes it each time, and compares what it
leaves in the end, byte for byte, with a training that nobody disturbed.

    tests/train/kill_points.py build/clquant [--kills 50] [--seed 1]

Everything that has state is on: momentum, weight averages, clipping, label smoothing, augmentation,
mixup, on a ResNet-20 with batch norms. Every third time the signal is SIGTERM, which must give exit
code 143. In the end the folder must hold what the undisturbed one holds, and nothing hidden beside
it. Prints where each kill struck. Not part of the test suite, which has fewer kills
(tests/cli/test_job.c) and fifty stops (tests/train/test_resume.c)."""

import argparse
import hashlib
import json
import pathlib
import random
import re
import signal
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
    """--resume is for a folder in which a run has begun."""
    begun = out.is_dir() and any(out.iterdir())
    return [clquant, "train", recipe, "--data", DATA, "--out", out, "--quiet"] + ["--resume"] * begun


def newest_step(out):
    steps = [int(m.group(1)) for p in out.glob("*.safetensors")
             if (m := re.fullmatch(r"train-checkpoint-(\d+)\.safetensors", p.name))]
    return max(steps, default=0)


def hashes(out):
    """Of the files that two equal trainings share: all but the timing in the history."""
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest()
            for p in sorted(out.iterdir()) if p.suffix in (".safetensors", ".onnx")}


def kill_until_done(clquant, recipe, out, rng, longest, kills, most):
    """Starts and kills one training until it is done; the number of kills so far, and how many hidden
    files they left at most."""
    hidden = 0
    while kills < most:
        process = subprocess.Popen(command(clquant, recipe, out))
        try:
            process.wait(0.1 + rng.uniform(0, longest))
            break
        except subprocess.TimeoutExpired:
            gently = kills % 3 == 2
            process.send_signal(signal.SIGTERM if gently else signal.SIGKILL)
            code = process.wait()
            if gently and code not in (0, 128 + signal.SIGTERM):
                sys.exit(f"FAILED: exit code {code} after SIGTERM")
            kills += 1
            if out.is_dir():
                hidden = max(hidden, sum(p.name.startswith(".") for p in out.iterdir()))
            print(f"{'SIGTERM' if gently else 'kill'} {kills}: newest checkpoint {newest_step(out)}", flush=True)
    subprocess.run(command(clquant, recipe, out), check=True)
    return kills, hidden


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
        kills = rounds = hidden = 0
        while kills < options.kills:
            rounds += 1
            killed = folder / f"killed-{rounds}"
            kills, left = kill_until_done(clquant, recipe, killed, rng,
                                          2 * seconds / options.kills + 0.5, kills, options.kills)
            hidden = max(hidden, left)
            names = [{p.name for p in folder.iterdir()} for folder in (whole, killed)]
            if names[0] != names[1]:
                sys.exit(f"FAILED: only one folder holds {names[0] ^ names[1]}")
            if hashes(whole) != hashes(killed):
                sys.exit(f"FAILED: {hashes(whole)} and {hashes(killed)} differ")
        print(f"{kills} kills in {rounds} trainings, same bits: {', '.join(hashes(whole))}; "
              f"at most {hidden} hidden files on the way, none in the end")


if __name__ == "__main__":
    main()
