"""clquant and a rival, as objects with one interface: take turns at timing, compare logits, measure memory."""
import json
import os
import statistics
import subprocess
import tempfile
from pathlib import Path

WORKER = Path(__file__).parent / "worker.py"
WARM_UP = 3


class Clquant:
    """A command for each turn."""
    name = "clquant"

    def __init__(self, command, case, batch):
        self.bench = [command, "bench", str(case.model), "--batch", str(batch), "--warmup", str(WARM_UP), "--json",
                      "--quiet"]
        self.facts = {}

    def turn(self, iterations):
        """Minimum and median of one turn, in ms."""
        text = subprocess.run([*self.bench, "--iterations", str(iterations)], check=True, capture_output=True,
                              text=True).stdout
        result = json.loads(text)["results"][0]
        self.facts = {"dot_path": result["dot_path"], "peak_fraction": result["peak_fraction"]}
        return result["latency_ms"]["min"], result["latency_ms"]["median"]

    def check(self):
        return {"relative_difference": 0.0, "top1_agreement": 1.0}

    def close(self):
        pass


class Rival:
    """A worker process that keeps its model loaded between turns."""

    def __init__(self, name, python, case, batch, threads):
        self.name, self.logits = name, case.logits
        model = case.ncnn if name == "ncnn" else case.model
        self.messages = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(
            [python, WORKER, name, model, case.inputs, str(batch), str(threads)], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=self.messages, text=True)
        self.facts = self.answer()

    def answer(self):
        line = self.process.stdout.readline()
        if not line:
            code = self.process.wait()
            self.messages.seek(0)
            raise SystemExit(f"rivals: the worker of {self.name} ended with {code}: {self.messages.read()[-2000:]}")
        return json.loads(line)

    def ask(self, command):
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        return self.answer()

    def turn(self, iterations):
        samples = self.ask(f"time {WARM_UP + iterations}")["samples_ms"][WARM_UP:]
        return min(samples), statistics.median(samples)

    def check(self):
        return {**self.ask(f"compare {self.logits}"), **self.ask("layers")}

    def memory(self):
        """Resident bytes before the model was loaded and at the peak of a first inference."""
        return {"idle_bytes": self.facts["idle_bytes"], **self.ask("memory")}

    def close(self):
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()
        self.messages.close()


def peak_of_command(command):
    """Peak resident bytes of a command's process (never less than this process's own, which is small)."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise SystemExit(f"rivals: {' '.join(command)} failed")
    return 1024 * usage.ru_maxrss


def clquant_memory(command, case):
    """Peak of a process that only opens the devices, and of one that also runs the model."""
    return {"idle_bytes": peak_of_command([command, "devices", "--no-peak"]),
            "peak_bytes": peak_of_command([command, "eval", str(case.model), "--batch", "1", "--data",
                                           f"synthetic:train=1,test=1,size={case.size}"])}
