"""Small networks made by the command, which stands beside the library under test."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import clquant as cq

BESIDE = Path(sys.executable).with_name("clquant")  # of an environment that is not activated
COMMAND = os.environ.get("CLQ_COMMAND") or (str(BESIDE) if BESIDE.exists() else shutil.which("clquant"))
SIZE, CLASSES = 8, 10
SYNTHETIC = f"synthetic:train=96,test=48,size={SIZE}"


def run_command(*words, status=0):
    """The command's JSON, or its text."""
    done = subprocess.run([COMMAND, *map(str, words)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert done.returncode == status, done.stderr
    return json.loads(done.stdout) if "--json" in words else done.stdout


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="session")
def device():
    return cq.Device(None if "CLQUANT_DEVICE" in os.environ else "cpu")


@pytest.fixture(scope="session")
def fp32_path(folder):
    """A network with batch norms and residual additions."""
    path = folder / "fp32.onnx"
    run_command("convert", "--network", "resnet20", "--size", SIZE, "--classes", CLASSES, "-o", path)
    return path


@pytest.fixture(scope="session")
def model(fp32_path, device):
    return cq.load(fp32_path, device=device)


@pytest.fixture(scope="session")
def images():
    return np.random.default_rng(0).standard_normal((40, 3, SIZE, SIZE)).astype(np.float32)


@pytest.fixture(scope="session")
def labels():
    return np.arange(40) * 7 % CLASSES


@pytest.fixture(scope="session")
def images_path(folder, images):
    path = folder / "images.npy"
    np.save(path, images)
    return path


@pytest.fixture(scope="session")
def int8(model, images):
    return cq.ptq(model, images)
