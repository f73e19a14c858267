"""What rivals.py makes of its measurements: problems, ratios, tables."""
import json
import subprocess
from pathlib import Path

MEGABYTE = 1e6
LARGEST_DIFFERENCE = {"fp32": 1e-3, "int8": 0.3}


def problem_of(check, precision):
    """What is wrong with a contestant's results; None when nothing is."""
    if check["relative_difference"] > LARGEST_DIFFERENCE[precision]:
        return "computes something else"
    if precision == "int8" and check.get("int8_layers", 1) == 0:
        return "does not run in int8"
    return None


def print_table(header, lines):
    lines = [header, *lines]
    widths = [max(len(line[i]) for line in lines) for i in range(len(header))]
    for line in lines:
        cells = [line[0].ljust(widths[0])] + [cell.rjust(width) for cell, width in zip(line[1:], widths[1:])]
        print("  ".join(cells).rstrip())
    print(flush=True)


def _case_name(row):
    return f"{row['model']} {row['precision']} batch {row['batch']}"


def print_case(rows):
    lines = []
    for row in rows:
        int8 = row.get("dot_path") or f"{row.get('int8_layers', 0)}/{row.get('layers', 0)}"
        lines.append([row["contestant"], f"{row['min_ms']:.2f}", f"{row['median_ms']:.2f}",
                      f"{100 * row['spread']:.0f} %", f"{100 * row['relative_difference']:.2g} %",
                      int8 if row["precision"] == "int8" else "-", row["problem"] or "ok"])
    print_table([_case_name(rows[0]), "min ms", "median", "spread", "logits off", "int8", "result"], lines)


def ratios(rows):
    """For each case the fastest rival's time over clquant's: above 1, clquant is faster."""
    cases = {}
    for row in rows:
        cases.setdefault(_case_name(row), []).append(row)
    result = []
    for name, group in cases.items():
        ours = next(row for row in group if row["contestant"] == "clquant")
        theirs = [row for row in group if row["contestant"] != "clquant" and not row["problem"]]
        if not theirs:
            continue
        fastest = min(theirs, key=lambda row: row["min_ms"])
        exact = [row for row in theirs if row["contestant"] == "onnxruntime-exact"]
        result.append({"case": name, "clquant_min_ms": ours["min_ms"], "rival": fastest["contestant"],
                       "rival_min_ms": fastest["min_ms"], "ratio_min": fastest["min_ms"] / ours["min_ms"],
                       "ratio_median": fastest["median_ms"] / ours["median_ms"],
                       "ratio_min_exact": exact[0]["min_ms"] / ours["min_ms"] if exact else None})
    return result


def print_ratios(result):
    lines = [[row["case"], f"{row['clquant_min_ms']:.2f}", row["rival"], f"{row['rival_min_ms']:.2f}",
              f"{row['ratio_min']:.2f}", f"{row['ratio_median']:.2f}",
              f"{row['ratio_min_exact']:.2f}" if row["ratio_min_exact"] else "-"] for row in result["ratios"]]
    print_table(["clquant against the fastest rival", "clquant min", "fastest", "its min", "ratio", "of medians",
                 "to exact"], lines)


def memory_bound(python, case):
    """Bytes that clquant may take above an idle process: weights, 1.5 x the two largest activations, 64 MB."""
    code = ("import json, sys; sys.path.insert(0, sys.argv[1]); from rivals.graph import largest_activations; "
            "print(json.dumps(largest_activations(sys.argv[2])))")
    text = subprocess.run([python, "-c", code, Path(__file__).parents[1], case.model], check=True, capture_output=True,
                          text=True).stdout
    activations = json.loads(text)
    weights = case.model.stat().st_size
    return {"weights_bytes": weights, "largest_activations_bytes": activations,
            "bound_bytes": int(weights + 1.5 * sum(activations) + 64 * MEGABYTE)}


def print_memory(memory):
    lines = [[row["contestant"], f"{row['peak_bytes'] / MEGABYTE:.1f}", f"{row['idle_bytes'] / MEGABYTE:.1f}",
              f"{(row['peak_bytes'] - row['idle_bytes']) / MEGABYTE:.1f}"] for row in memory["rows"]]
    print_table([f"memory of {memory['model']} int8, batch 1, MB", "peak", "idle", "above idle"], lines)
    first, second = memory["largest_activations_bytes"]
    ours = memory["rows"][0]
    within = ours["peak_bytes"] - ours["idle_bytes"] <= memory["bound_bytes"]
    result = "within" if within else "ABOVE"
    print(f"clquant is {result} the bound: weights {memory['weights_bytes'] / MEGABYTE:.1f} + "
          f"1.5 x ({first / MEGABYTE:.2f} + {second / MEGABYTE:.2f}) + 64 = {memory['bound_bytes'] / MEGABYTE:.1f} MB")


def print_setting(result):
    cpu = result["processor"]
    versions = sorted({f"{row['contestant']} {row['version']}" for row in result["rows"] if "version" in row})
    print(f"{cpu['name']}, {' '.join(cpu['instruction_sets'])}; {result['threads']} threads, {result['rounds']} rounds "
          f"of {result['iterations']} iterations; {', '.join(versions)}")
