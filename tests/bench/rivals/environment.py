"""The rivals' private virtual environment and a description of the machine."""
import os
import subprocess
import venv
from pathlib import Path

PACKAGES = ["numpy", "onnx", "onnxruntime", "openvino", "ncnn"]


def python_with(folder, packages):
    """Makes the virtual environment if there is none, installs what it lacks, and returns its interpreter."""
    python = Path(folder).absolute() / "bin" / "python"
    if not python.exists():
        venv.create(folder, with_pip=True)
    listed = subprocess.check_output([python, "-m", "pip", "list", "--format=freeze"], text=True)
    present = {line.split("==")[0] for line in listed.splitlines()}
    missing = [package for package in packages if package not in present]
    if missing:
        print(f"installing {', '.join(missing)} in {folder}", flush=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *missing], check=True)
    return python


def processor():
    """Name and relevant instruction sets of the first processor."""
    with open("/proc/cpuinfo") as file:
        lines = dict(line.split(":", 1) for line in file if ":" in line)
    fields = {key.strip(): value.strip() for key, value in lines.items()}
    interesting = ("avx2", "avx_vnni", "avx512f", "avx512_vnni", "amx_int8")
    flags = fields.get("flags", "").split()
    return {"name": fields.get("model name", "unknown"), "cores": os.cpu_count(),
            "instruction_sets": [flag for flag in interesting if flag in flags]}


def has_vnni(cpu):
    return bool({"avx_vnni", "avx512_vnni"} & set(cpu["instruction_sets"]))


def use_threads(count):
    """Keeps this process and its children on `count` processors, and tells OpenCL and OpenMP so."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:count])
    for variable in ("POCL_MAX_PTHREAD_COUNT", "POCL_CPU_MAX_CU_COUNT", "OMP_NUM_THREADS"):
        os.environ[variable] = str(count)
