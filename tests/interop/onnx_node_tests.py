#!/usr/bin/env python3
"""The onnx package's backend tests of single nodes through `clquant predict`, operator by operator.

    tests/interop/onnx_node_tests.py --clquant build/clquant [--ops Conv,Relu] [--verbose] [--table FILE]

Every case whose operator the tables of host/formats/onnx read is tried. An input that is no float, or that
clquant takes as a constant only, becomes an initializer; outputs past the first that it does not make are
left out, and the case counted so. Codes are fed as the reals that they stand for, through QuantizeLinear, and
read through DequantizeLinear. A case passes when what comes out has the shape that it should have and is within the
tolerances of onnx's own runner; one that asks for something else than floats at inference, or that clquant
refuses, is listed with the reason. Without the packages
onnx and numpy the exit status is 77. 1: a case came out wrong, or an operator of --require is not complete.
"""
import argparse
import collections
import datetime
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
    return names | set(CODES)


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
BY_STATISTICS = "training, which is computed by running statistics"
UNROUNDED = "takes the output's size before it is rounded down, which ONNX Runtime does not do either"
SIX = "makes an array of 6 dimensions, of which predict writes 5"
LEFT_OUT = {"test_training_dropout": "training, which is computed without dropout",
            "test_batchnorm_example_training_mode": BY_STATISTICS,
            "test_batchnorm_epsilon_training_mode": BY_STATISTICS,
            "test_resize_downsample_scales_linear_align_corners": UNROUNDED,
            "test_resize_downsample_scales_cubic_align_corners": UNROUNDED,
            "test_unsqueeze_three_axes": SIX, "test_unsqueeze_unsorted_axes": SIX}

# Operators on codes: inputs that are codes of an activation, each with its scale and zero point, and those of the
# output, all by their place; an output's are outputs of a node that finds them itself.
CODES = {"QuantizeLinear": ([], (1, 2)), "DequantizeLinear": ([(0, 1, 2)], None), "DynamicQuantizeLinear": ([], "outputs"),
         "QLinearConv": ([(0, 1, 2)], (6, 7)), "QLinearMatMul": ([(0, 1, 2), (3, 4, 5)], (6, 7))}
INDICES = ("ArgMax", "ArgMin")  # are floats here


def dequantized(codes, scale, zero_point):
    return ((codes.astype(np.int64) - np.asarray(zero_point).astype(np.int64)) * scale).astype(np.float32)


def on_reals(case):
    """The case of an operator on codes as one on reals: what it reads goes through QuantizeLinear, what it makes through
    DequantizeLinear. None where its codes are not of 8 or 4 bits, or have several scales."""
    node = case.model.graph.node[0]
    activations, made = CODES[node.op_type]
    model = onnx.ModelProto()
    model.CopyFrom(case.model)
    infos = {value.name: value for value in model.graph.input}
    node, data_sets = model.graph.node[0], []
    place = {value.name: i for i, value in enumerate(model.graph.input)}
    at = lambda arrays, index: (arrays[place[node.input[index]]] if index < len(node.input) and node.input[index] else np.uint8(0))
    for inputs, outputs in case.data_sets:
        arrays = [numpy_helper.to_array(a) if isinstance(a, onnx.TensorProto) else np.asarray(a) for a in inputs]
        wanted = [numpy_helper.to_array(a) if isinstance(a, onnx.TensorProto) else np.asarray(a) for a in outputs]
        fed = list(arrays)
        params = [(at(arrays, s), at(arrays, z)) for _, s, z in activations]
        if made and made != "outputs":
            params.append((at(arrays, made[0]), at(arrays, made[1])))
        codes = [at(arrays, x) for x, _, _ in activations] + [z for _, z in params]
        if any(np.size(s) != 1 for s, _ in params) or any(
                np.asarray(z).dtype.name not in ("uint8", "int8", "uint4", "int4") for z in codes):
            return None
        for (x, _, _), (scale, zero) in zip(activations, params):
            fed[place[node.input[x]]] = dequantized(arrays[place[node.input[x]]], scale, zero)
        if made:
            scale, zero = (wanted[1], wanted[2]) if made == "outputs" else params[-1]
            wanted = [dequantized(wanted[0], scale, zero)]
        data_sets.append((fed, wanted))
    nodes = []
    for x, s, z in activations:
        name = node.input[x]
        reads = [name, node.input[s]] + ([node.input[z]] if z < len(node.input) and node.input[z] else [])
        nodes.append(helper.make_node("QuantizeLinear", reads, [name + "_codes"]))
        node.input[x] = name + "_codes"
        infos[name].type.tensor_type.elem_type = TensorProto.FLOAT
    nodes.append(node)
    if made:
        by = node.output[1:3] if made == "outputs" else [node.input[k] for k in made if k < len(node.input)]
        nodes.append(helper.make_node("DequantizeLinear", [node.output[0], *by], ["reals"]))
        del model.graph.output[1:]
        model.graph.output[0].name = "reals"
        model.graph.output[0].type.tensor_type.elem_type = TensorProto.FLOAT
    nodes = [onnx.NodeProto.FromString(n.SerializeToString()) for n in nodes]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return types.SimpleNamespace(name=case.name, model=model, data_sets=data_sets, rtol=case.rtol, atol=case.atol,
                                 fed=[value.name for value in model.graph.input if node.input[0] == value.name] +
                                 [node.input[x].removesuffix("_codes") for x, _, _ in activations])


def why_left_out(case, op):
    """Why a case is none of floats at inference, or None."""
    if op in CODES and not hasattr(case, "fed"):
        return "codes of other types than 8 and 4 bits, of several scales, or of blocks"
    for beginning, why in LEFT_OUT.items():
        if case.name.startswith(beginning):
            return why
    graph = case.model.graph
    tensors = [value for value in [*graph.input, *graph.output] if value.type.WhichOneof("value") == "tensor_type"]
    if len(tensors) < len(graph.input) + len(graph.output):
        return "sequences or optional values"
    if not any(map(is_real, graph.input)) or not (is_real(graph.output[0]) or op in INDICES):
        return "other types than floats"
    return None


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
    if hasattr(case, "fed"):
        yield case.fed
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
        if got.shape != (want.shape or (1,)):
            return f"{name} has shape {got.shape}, should have {want.shape}"
        if not np.allclose(got.reshape(want.shape).astype(np.float64), want.astype(np.float64),
                           rtol=max(case.rtol, rounding), atol=max(case.atol, 1e-6), equal_nan=True):
            worst = np.nanmax(np.abs(got.reshape(want.shape).astype(np.float64) - want))
            return f"{name} is off by up to {worst:.3g}"
    return None


def try_case(runner, case):
    """("passed" | "first" | "wrong" | "refused", reason); first: without the further outputs."""
    reason = "other types than floats"
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


PAGE = """# Operators in ONNX's own tests

```
tests/interop/onnx_node_tests.py --table docs/onnx-operators.md
```

The onnx package's tests of single nodes, through `clquant predict`, for each operator that is [read](formats.md#onnx-what-is-read): how many there
are, how many pass within the package's own tolerances, and what is left out and why. Operators that are several nodes here are among them; of
those whose tests have further outputs that are not computed (masks of Dropout, places of maxima), the first is compared. Codes
are fed and read as the reals that they stand for. onnx {version}, {date}.

{passed} of {cases} cases pass, {first} more in their first output; {wrong} come out wrong; {left} are left out.

{table}
"""


def shortened(reason):
    """A refusal without the names of the case's tensors and nodes, and without what would be accepted."""
    reason = re.sub(r'^.*\.npz: |^node (\d+|"[^"]*") \([^)]*\): |^(tensor|array|input) "[^"]*": ', "", reason)
    return re.sub(r" is not supported, only .*|, must (be|have) .*", "", reason)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clquant", default=os.path.join(ROOT, "build", "clquant"))
    parser.add_argument("--ops", help="only these, separated by commas")
    parser.add_argument("--require", default="", help="operators all of whose cases must pass")
    parser.add_argument("--table", help="also write a page with the table here, in Markdown")
    parser.add_argument("--verbose", action="store_true")
    options = parser.parse_args()
    names = known_operators()
    if options.ops:
        names &= set(options.ops.split(","))
    results = collections.defaultdict(lambda: {"passed": [], "first": [], "wrong": [], "refused": []})
    with tempfile.TemporaryDirectory() as folder:
        runner = Runner(options.clquant, folder)
        for op, case in cases_of(names):
            case = (op in CODES and on_reals(case)) or case
            reason = why_left_out(case, op)
            outcome, reason = ("refused", reason) if reason else try_case(runner, case)
            results[op][outcome].append((case.name, reason))
            if options.verbose or outcome == "wrong":
                print(f"{outcome:8s} {case.name}: {reason}", flush=True)
    lines = ["| operator | cases | passed | first output only | left out, and why |", "|---|---|---|---|---|"]
    for op in sorted(results):
        r = results[op]
        why = collections.Counter(shortened(text) for _, text in r["refused"] + r["wrong"])
        lines.append(f"| {op} | {sum(map(len, r.values()))} | {len(r['passed'])} | {len(r['first'])} | "
                     + "; ".join(f"{count} x {text}" for text, count in why.items()) + " |")
    print("\n".join(lines))
    if options.table:
        count = {kind: sum(len(r[kind]) for r in results.values()) for kind in ("passed", "first", "wrong", "refused")}
        with open(options.table, "w") as file:
            file.write(PAGE.format(version=onnx.__version__, date=datetime.date.today(), table="\n".join(lines),
                                   passed=count["passed"], first=count["first"], wrong=count["wrong"],
                                   left=count["refused"], cases=sum(count.values())))
    missing = [op for op in options.require.split(",")
               if op and (op not in results or results[op]["refused"] or results[op]["wrong"])]
    if missing:
        print("not complete:", ", ".join(missing))
    return 1 if missing or any(r["wrong"] for r in results.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
