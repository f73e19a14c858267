#!/usr/bin/env python3
"""Tests that scripts/cross-device fails when it should, with stand-ins for clquant and Oclgrind."""
import json
import os
import stat
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "cross-device"

# Lists one device, and verifies with the hash and the count of differing codes that the environment gives it.
FAKE_CLQUANT = f"""#!{sys.executable}
import json, os, sys
if sys.argv[1] == "devices":
    platforms = ["Oclgrind"] if "IN_OCLGRIND" in os.environ else ["Portable Computing Language"]
    if os.environ.get("RUSTICL_ENABLE") == "llvmpipe":
        platforms.append("rusticl")
    print(json.dumps({{"devices": [{{"id": f"{{i}}:0", "name": "fake", "platform": platform, "driver": "1"}}
                                  for i, platform in enumerate(platforms)]}}))
elif sys.argv[1] == "verify":
    print(json.dumps({{"mismatched_codes": int(os.environ.get("MISMATCHED", "0")),
                       "dot_paths": {{"portable": os.environ.get("SHA_" + os.environ["CLQUANT_SCHEDULE"], "same")}}}}))
    sys.exit(int(os.environ.get("MISMATCHED", "0")) > 0)
"""
FAKE_OCLGRIND = f"""#!{sys.executable}
import os, subprocess, sys
open(sys.argv[2], "w").write(os.environ.get("FAULT", "") if "verify" in sys.argv else "")
subprocess.run(sys.argv[3:], env={{**os.environ, "IN_OCLGRIND": "1"}})
"""


class CrossDevice(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        for name, text in (("clquant", FAKE_CLQUANT), ("oclgrind", FAKE_OCLGRIND)):
            path = self.folder / name
            path.write_text(text)
            path.chmod(path.stat().st_mode | stat.S_IXUSR)
        self.vendors = self.folder / "vendors"
        self.vendors.mkdir()

    def run_script(self, *arguments, **environment):
        """Returns the exit code and the rows."""
        out = self.folder / "rows.json"
        result = subprocess.run(
            [sys.executable, SCRIPT, "--clquant", self.folder / "clquant", "--intel", self.folder / "none",
             "--json", out, *arguments], env={**os.environ, "PATH": f"{self.folder}:{os.environ['PATH']}",
                                                          "OCL_ICD_VENDORS": str(self.vendors), **environment},
            stdout=subprocess.DEVNULL)
        return result.returncode, json.loads(out.read_text())

    def test_agreement(self):
        code, report = self.run_script("--require", "pocl,oclgrind")
        self.assertEqual(code, 0)
        self.assertTrue(report["agree"])
        self.assertEqual([row["implementation"] for row in report["rows"]], ["pocl", "pocl", "oclgrind", "oclgrind"])
        self.assertEqual(report["missing"], ["rusticl", "intel"])

    def test_rusticl_where_it_is_installed(self):
        (self.vendors / "rusticl.icd").touch()
        code, report = self.run_script("--require", "rusticl", "--only", "pocl,rusticl")
        self.assertEqual(code, 0)
        self.assertEqual([row["implementation"] for row in report["rows"]], ["pocl", "pocl", "rusticl", "rusticl"])

    def test_different_hash(self):
        code, report = self.run_script(SHA_gpu="other")
        self.assertEqual(code, 1)
        self.assertEqual([row["result"] for row in report["rows"]], ["ok", "DIFFERS"] * 2)

    def test_differing_codes(self):
        code, report = self.run_script(MISMATCHED="3")
        self.assertEqual(code, 1)
        self.assertFalse(report["agree"])

    def test_an_implementation_that_is_not_required_is_skipped(self):
        result = subprocess.run(
            [sys.executable, SCRIPT, "--clquant", self.folder / "clquant", "--only", "pocl,intel", "--require", "pocl",
             "--intel", self.folder / "none"], env={**os.environ, "OCL_ICD_VENDORS": str(self.vendors)}, text=True,
            stdout=subprocess.PIPE)
        self.assertEqual(result.returncode, 0)
        self.assertIn("\nskipped: intel is not here\n", result.stdout)

    def test_fault_in_the_log_of_oclgrind(self):
        code, report = self.run_script(FAULT="Invalid read of size 4")
        self.assertEqual(code, 1)
        self.assertEqual([row["result"] for row in report["rows"]], ["ok"] * 2 + ["Invalid read of size 4"] * 2)

    def test_missing_implementation(self):
        code, report = self.run_script("--require", "intel")
        self.assertEqual(code, 1)
        self.assertEqual(report["missing"], ["rusticl", "intel"])


if __name__ == "__main__":
    unittest.main()
