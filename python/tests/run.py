#!/usr/bin/env python3
"""Runs the Python package's tests on a library that was built, as ctest does.

    run.py --library BUILD/libclquant.so --command BUILD/clquant [pytest's arguments]

CLQ_PYTHON names another interpreter than this one, such as that of a virtual environment. Exit code 77: the packages
that the tests need are not there.
"""
import argparse
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

PACKAGES = ("cffi", "numpy", "pytest")

if __name__ == "__main__":
    python = os.environ.get("CLQ_PYTHON")
    if python and "CLQ_PYTHON_CALLED" not in os.environ:
        sys.exit(subprocess.run([python, *sys.argv], env={**os.environ, "CLQ_PYTHON_CALLED": "1"}).returncode)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--library", type=Path, required=True)
    parser.add_argument("--command", type=Path, required=True)
    options, rest = parser.parse_known_args()
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        print(f"skipped: the Python package, for want of {', '.join(missing)} (CLQ_PYTHON names another Python)")
        sys.exit(77)
    here = Path(__file__).resolve().parent
    environment = {**os.environ, "CLQ_LIBRARY": str(options.library.resolve()),
                   "CLQ_COMMAND": str(options.command.resolve()), "PYTHONPATH": str(here.parent),
                   "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider", str(here), *rest]
    sys.exit(subprocess.run(command, env=environment, cwd=here).returncode)
