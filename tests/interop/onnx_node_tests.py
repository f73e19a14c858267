#!/usr/bin/env python3
"""The onnx package's backend tests of single nodes through `clquant predict`, operator by operator.

    tests/interop/onnx_node_tests.py --clquant build/clquant [--ops Conv,Relu] [--verbose] [--table FILE]

Every case whose operator the tables of host/formats/onnx read is tried. An input that is no float, or that
clquant takes as a constant only, becomes an initializer; outputs past the first that it does not make are
left out, and the case counted so. A case passes when what comes out is within the
tolerances of onnx's own runner; one that clquant refuses is listed with the reason. Without the packages
onnx and numpy the exit status is 77. 1: a case came out wrong, or an operator of --require is not complete.
"""
import argparse
import collections
import os
import re
import subprocess
import sys
import tempfile
import types
import warnings

try:
    import numpy as np
    import onnx
    from onnx import TensorProto, helper, numpy_helper
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from onnx.backend.test.case.node import collect_testcases
except ImportError as error:
    print(f"skipped: {error}")
    sys.exit(77)

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
REALS = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.BFLOAT16)


def known_operators():
    """ONNX's names in the tables that read activations."""
    names = set()
    folder = os.path.join(ROOT, "host", "formats", "onnx")
    for name in sorted(os.listdir(folder)):
        if name.endswith(".c"):
            with open(os.path.join(folder, name)) as file:
                for table in re.findall(r"const onnx_operator onnx_\w+\[\] = \{\n(.*?)\n\};", file.read(), re.S):
                    for row in re.split(r"\n    (?=[{A-Z])", table):
                        found = re.match(r'\s*(?:\{|[A-Z]+\()"(\w+)"', row)
                        if found and (not row.lstrip().startswith("{") or "read" in row):
                            names.add(found.group(1))
    return names


def cases_of(names):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            cases = collect_testcases(None)
        except TypeError:
            cases = collect_testcases()
    for case in cases:
        nodes = case.model.graph.node
        if len(nodes) == 1 and nodes[0].op_type in names and not case.name.endswith("_expanded"):
            yield nodes[0].op_type, case


def with_initializers(model, constants):
    """The model with these inputs, {name: array}, as initializers."""
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    kept = [value for value in changed.graph.input if value.name not in constants]
    del changed.graph.input[:]
    changed.graph.input.extend(kept)
    for name, array in constants.items():
        changed.graph.initializer.append(numpy_helper.from_array(np.asarray(array), name))
    return changed


def is_real(value):
    return value.type.tensor_type.elem_type in REALS


# Cases that ask for something else than inference.
LEFT_OUT = {"test_training_dropout": "training, which inference computes without dropout",
            "test_batchnorm_example_training_mode": "training, which inference computes by running statistics",
            "test_batchnorm_epsilon_training_mode": "training, which inference computes by running statistics"}


class Runner:
    def __init__(self, clquant, folder):
        self.clquant, self.folder = clquant, folder

    def run(self, model, inputs):
        """The outputs by name, or the reason why there are none."""
        path, fed, made = (os.path.join(self.folder, name) for name in ("m.onnx", "x.npz", "y.npz"))
        onnx.save(model, path)
        np.savez(fed, **{name: np.asarray(array, dtype=np.float32) for name, array in inputs.items()})
        if os.path.exists(made):
            os.remove(made)
        done = subprocess.run([self.clquant, "predict", path, "--inputs", fed, "-o", made, "-q"],
                              capture_output=True, text=True, timeout=300)
        if done.returncode != 0:
            lines = (done.stderr.strip() or f"exit status {done.returncode}").splitlines()
            return re.sub(r"^clquant[^:]*: ", "", lines[-1]).replace(path + ": ", "")
        with np.load(made) as arrays:
            return {name: arrays[name] for name in arrays.files}


def with_first_output(model):
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    del changed.graph.output[1:]
    del changed.graph.node[0].output[1:]
    return changed


def variants(case, names, arrays):
    """Ways to give the inputs, from most activations to one: sets of names that stay inputs."""
    reals = [value.name for value in case.model.graph.input if is_real(value) and arrays[value.name].size]
    yield reals
    if len(reals) > 1:
        for first in reals[:2]:
            yield [first]


def compare(case, names, expected, made):
    """None, or what is wrong."""
    for name, want in zip(names, expected):
        if not name or name not in made:
            continue
        want, got = np.asarray(want), made[name]
        rounding = {"bfloat16": 2.0 ** -8, "float16": 2.0 ** -11}.get(want.dtype.name, 0)  # of what is expected
        if got.size != want.size:
            return f"{name} has shape {got.shape}, should have {want.shape}"
        if not np.allclose(got.reshape(want.shape).astype(np.float64), want.astype(np.float64),
                           rtol=max(case.rtol, rounding), atol=max(case.atol, 1e-6), equal_nan=True):
            worst = np.nanmax(np.abs(got.reshape(want.shape).astype(np.float64) - want))
            return f"{name} is off by up to {worst:.3g}"
    return None


def try_case(runner, case):
    """("passed" | "first" | "wrong" | "refused", reason); first: without the further outputs."""
    for beginning, why in LEFT_OUT.items():
        if case.name.startswith(beginning):
            return "refused", why
    reason = "has no floats to compute with"
    names = [value.name for value in case.model.graph.input]
    for inputs, outputs in case.data_sets:
        tensors = [numpy_helper.to_array(array) if isinstance(array, onnx.TensorProto) else array
                   for array in inputs]
        arrays = dict(zip(names, [np.asarray(array) for array in tensors
                                  if not isinstance(array, (list, dict, type(None)))]))
        if len(arrays) != len(names):
            return "refused", "has inputs that are no tensors"
        done, reasons = False, []
        for kept in variants(case, names, arrays):
            constants = {name: arrays[name] for name in names if name not in kept}
            if not kept:
                continue
            made = runner.run(with_initializers(case.model, constants),
                              {name: arrays[name] for name in kept})
            if isinstance(made, str):
                reasons.append(made)
                continue
            wrong = compare(case, [value.name for value in case.model.graph.output], outputs, made)
            if wrong:
                return "wrong", wrong
            done = True
        if not done and "only output 0 is supported" in "".join(reasons):
            outcome, reason = try_case(runner, types.SimpleNamespace(
                name=case.name, model=with_first_output(case.model), data_sets=[(inputs, outputs[:1])],
                rtol=case.rtol, atol=case.atol))
            return ("first" if outcome == "passed" else outcome), reason
        if not done:  # with the first input alone an activation, where that was tried
            return "refused", reasons[min(1, len(reasons) - 1)] if reasons else reason
    return "passed", ""


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clquant", default=os.path.join(ROOT, "build", "clquant"))
    parser.add_argument("--ops", help="only these, separated by commas")
    parser.add_argument("--require", default="", help="operators all of whose cases must pass")
    parser.add_argument("--table", help="also write the table here, in Markdown")
    parser.add_argument("--verbose", action="store_true")
    options = parser.parse_args()
    names = known_operators()
    if options.ops:
        names &= set(options.ops.split(","))
    results = collections.defaultdict(lambda: {"passed": [], "first": [], "wrong": [], "refused": []})
    with tempfile.TemporaryDirectory() as folder:
        runner = Runner(options.clquant, folder)
        for op, case in cases_of(names):
            outcome, reason = try_case(runner, case)
            results[op][outcome].append((case.name, reason))
            if options.verbose or outcome == "wrong":
                print(f"{outcome:8s} {case.name}: {reason}", flush=True)
    lines = ["| operator | passed | first output only | of | left out, and why |", "|---|---|---|---|---|"]
    for op in sorted(results):
        r = results[op]
        why = collections.Counter(re.sub(r'^node (\d+|"[^"]*") \([^)]*\): ', "", text)[:110]
                                  for _, text in r["refused"] + r["wrong"])
        lines.append(f"| {op} | {len(r['passed'])} | {len(r['first'])} | {sum(map(len, r.values()))} | "
                     + "; ".join(f"{count} x {text}" for text, count in why.items()) + " |")
    print("\n".join(lines))
    if options.table:
        with open(options.table, "w") as file:
            file.write("\n".join(lines) + "\n")
    missing = [op for op in options.require.split(",")
               if op and (op not in results or results[op]["refused"] or results[op]["wrong"])]
    if missing:
        print("not complete:", ", ".join(missing))
    return 1 if missing or any(r["wrong"] for r in results.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
