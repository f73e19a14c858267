"""The networks that all contestants run, made with clquant and kept in a folder for the next time."""
import subprocess
from dataclasses import dataclass
from pathlib import Path

BUILT_IN = {  # name -> arguments of `clquant convert`: network, stem, size, classes
    "resnet50-224": ("resnet50", "imagenet", 224, 1000),
    "resnet50-32": ("resnet50", "cifar", 32, 10),
    "resnet18-224": ("resnet18", "imagenet", 224, 1000),
    "mobilenet_v2-224": ("mobilenet_v2", "imagenet", 224, 1000),
}
EXPORTER = Path(__file__).parent / "ncnn_export.py"


@dataclass
class Case:
    """One network in one precision. The images of `inputs` give `logits` in clquant."""
    name: str
    precision: str
    size: int  # pixels on each side of an image
    model: Path  # ONNX, for clquant and the rivals that read it
    ncnn: Path  # of its .param and .bin, without suffix
    inputs: Path  # .npy, (images, C, H, W)
    logits: Path  # .npy, (images, classes)


def _run(*command):
    result = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if result.returncode != 0:
        raise SystemExit(f"rivals: {' '.join(map(str, command))}: {result.stderr.strip()}")


def make_case(name, precision, folder, clquant, python, images):
    """Uses NAME-fp32.onnx or NAME-int8.onnx in the folder, or makes it: random weights, batch norm folded (which every
    rival does by itself), quantized per channel on synthetic images."""
    network, stem, size, classes = BUILT_IN[name]
    data = f"synthetic:train=64,test={images},size={size}"
    folder.mkdir(parents=True, exist_ok=True)
    fp32 = folder / f"{name}-fp32.onnx"
    model = folder / f"{name}-{precision}.onnx"
    if not fp32.exists():
        _run(clquant, "convert", "--network", network, "--stem", stem, "--size", size, "--classes", classes, "--fold",
             "--output", fp32)
    if not model.exists():
        _run(clquant, "ptq", fp32, "--data", data, "--images", 32, "--output", model)
    case = Case(name, precision, size, model, model.with_suffix(".ncnn"), folder / f"{name}-{precision}-inputs.npy",
                folder / f"{name}-{precision}-logits.npy")
    exported = Path(f"{case.ncnn}.bin")
    if not exported.exists() or exported.stat().st_mtime < model.stat().st_mtime:
        _run(python, EXPORTER, model, case.ncnn)
    _run(clquant, "eval", model, "--data", data, "--save-inputs", case.inputs, "--logits", case.logits)
    return case
