#!/usr/bin/env python3
"""The training loss of clquant and PyTorch, step by step: same network, weights, images in the same order, and recipe.

    loss_curve.py --data DIR --out FOLDER [--steps 200] [--batch 128] [--network resnet20]

DIR is any image data set with 32x32 images that clquant reads. The recipe is one cycle of SGD with Nesterov momentum and weight decay
over `steps` batches, without augmentation. Initial weights come from `clquant convert`, images and labels as the network sees them
from `clquant eval`, their order from Philox as clquant's loader draws it, learning rates from the log of `clquant train`.

Leaves loss.csv (step, lr, clquant, torch), loss.png and a table on standard output. Needs numpy and torch, and matplotlib for
the picture. The two agree to rounding in the first step; rounding differences then grow, as they do between any two
implementations, while the curves stay together.
"""
import argparse
import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy
import torch
import torch.nn.functional as F

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))
from torch_reference import networks, philox, tensors  # noqa: E402

SEED = 1
ORDER = 1 << 56  # the stream of the first epoch's order: host/data/draws.h


def recipe(options):
    return {"name": "loss-curve", "network": {"name": options.network},
            "data": {"train_limit": options.steps * options.batch, "test_limit": 100},
            "train": {"epochs": 1, "batch": options.batch, "seed": SEED, "log_steps": 1,
                      "optimizer": {"name": "sgd", "momentum": 0.9, "nesterov": True, "weight_decay": 5e-4},
                      "schedule": {"name": "one_cycle", "lr": 0.2, "warmup_epochs": 0.2, "final_ratio": 0.002}}}


def run(*command):
    subprocess.run([str(part) for part in command], check=True, stdout=subprocess.DEVNULL)


def train_clquant(options, files):
    """[(lr, loss)] of every step."""
    files["log"].unlink(missing_ok=True)
    files["recipe"].write_text(json.dumps(recipe(options)))
    run(options.clquant, "convert", "--network", options.network, "--classes", 10, "--seed", SEED, "--output", files["model"],
        "--weights-out", files["weights"])
    run(options.clquant, "train", files["recipe"], "--data", options.data, "--out", files["trained"], "--overwrite", "--weights",
        files["weights"], "--log-file", files["log"], "--device", options.device, "--quiet")
    events = [json.loads(line) for line in files["log"].read_text().splitlines()]
    return [(event["lr"], event["loss"]) for event in events if event["event"] == "step"]


def load_images(options, files):
    run(options.clquant, "eval", files["model"], "--data", options.data, "--split", "train", "--limit",
        options.steps * options.batch, "--save-inputs", files["images"], "--save-labels", files["labels"], "--quiet")
    return torch.from_numpy(numpy.load(files["images"])), torch.from_numpy(numpy.load(files["labels"]).astype(numpy.int64))


def train_torch(options, files, rates):
    """The loss of every step."""
    images, labels = load_images(options, files)
    model = networks.build(options.network).train()
    weights = {name: torch.from_numpy(array.copy()) for name, array in tensors.read(files["weights"]).items()}
    left_out = model.load_state_dict(weights, strict=False)
    assert not left_out.unexpected_keys and all("num_batches" in key for key in left_out.missing_keys), left_out
    optimizer = torch.optim.SGD(model.parameters(), lr=0, momentum=0.9, nesterov=True, weight_decay=5e-4)
    order = torch.from_numpy(philox.permutation(SEED, ORDER, len(images)))
    losses = []
    for step, rate in enumerate(rates):
        batch = order[step * options.batch:(step + 1) * options.batch]
        optimizer.param_groups[0]["lr"] = rate
        optimizer.zero_grad()
        loss = F.cross_entropy(model(images[batch]), labels[batch])
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def draw(rows, path):
    try:
        import matplotlib
        matplotlib.use("Agg")
        from matplotlib import pyplot
    except ImportError:
        print("no matplotlib: no picture", file=sys.stderr)
        return
    steps = [row[0] for row in rows]
    figure, axes = pyplot.subplots(figsize=(8, 4.5))
    axes.plot(steps, [row[3] for row in rows], color="#d95f02", linewidth=2.5, alpha=0.6, label="PyTorch")
    axes.plot(steps, [row[2] for row in rows], color="#1b4f9c", linewidth=1, label="clquant")
    axes.set(xlabel="step", ylabel="training loss of the batch")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.tight_layout()
    figure.savefig(path, dpi=100)


def print_table(rows):
    print("| steps | clquant | PyTorch | difference |\n|---|---|---|---|")
    for first, last in ((1, 1), (2, 2), (5, 5), (10, 10), (11, 50), (51, 100), (101, 150), (151, 200)):
        part = rows[first - 1:last]
        if part:
            ours, theirs = (sum(row[i] for row in part) / len(part) for i in (2, 3))
            name = f"{first}" if first == last else f"{first} to {last}, mean"
            print(f"| {name} | {ours:.5f} | {theirs:.5f} | {ours - theirs:+.1e} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--out", required=True, type=Path)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--network", default="resnet20")
    parser.add_argument("--device", default="cpu", help="clquant's")
    parser.add_argument("--clquant", default=str(ROOT / "build" / "clquant"))
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    names = {"recipe": "recipe.json", "model": "start.onnx", "weights": "start.safetensors", "trained": "trained",
             "log": "log.jsonl", "images": "images.npy", "labels": "labels.npy"}
    files = {name: options.out / file for name, file in names.items()}
    ours = train_clquant(options, files)
    theirs = train_torch(options, files, [rate for rate, _ in ours])
    rows = [(step + 1, rate, loss, theirs[step]) for step, (rate, loss) in enumerate(ours)]
    with open(options.out / "loss.csv", "w", newline="") as file:
        csv.writer(file).writerows([("step", "lr", "clquant", "torch"), *rows])
    draw(rows, options.out / "loss.png")
    print_table(rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
