#!/usr/bin/env python3
"""Tests scripts/install-packages and scripts/test, with stand-ins for apt, CMake and CTest."""
import os
import shutil
import stat
import subprocess
import tempfile
import unittest
from pathlib import Path

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"

# `installed`, `unknown` and `conflicting` hold names of packages; what is installed may remove what it conflicts with.
FAKES = {
    "dpkg-query": 'sed "s/^/installed /" "$FAKE/installed"',
    "sudo": '"$@"',
    "apt-get": """
        echo "$*" >>"$FAKE/calls"
        packages=$(printf '%s\\n' "$@" | grep -v '^-\\|^install$\\|^update$')
        [ "$1" = update ] && exit $(cat "$FAKE/update")
        for package in $packages; do
            grep -qx "$package" "$FAKE/unknown" && exit 100
            if grep -qx "$package" "$FAKE/conflicting"; then
                case "$*" in *--no-remove*) exit 100 ;; *) echo removed >>"$FAKE/calls" ;; esac
            fi
        done
        case "$*" in *--simulate*) ;; *) echo "$packages" >>"$FAKE/installed" ;; esac""",
    "cmake": "",
    "ctest": """
        mkdir -p build/Testing/Temporary
        cp "$FAKE/log" build/Testing/Temporary/LastTest.log
        cat "$FAKE/closing"
        exit $(cat "$FAKE/status")""",
}


class Scripts(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        shutil.copytree(SCRIPTS, self.folder / "scripts")
        (self.folder / "bin").mkdir()
        for name, text in FAKES.items():
            path = self.folder / "bin" / name
            path.write_text(f"#!/bin/sh\n{text}\n")
            path.chmod(path.stat().st_mode | stat.S_IXUSR)
        for name in ("installed", "unknown", "conflicting", "calls", "log", "closing"):
            self.put(name, "")
        self.put("update", "0")
        self.put("status", "0")

    def put(self, name, text):
        (self.folder / name).write_text(text)

    def get(self, name):
        return (self.folder / name).read_text().split()

    def run_script(self, name, *arguments):
        environment = {**os.environ, "FAKE": str(self.folder), "PATH": f"{self.folder}/bin:{os.environ['PATH']}"}
        return subprocess.run([self.folder / "scripts" / name, *arguments], env=environment, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    def test_everything_is_installed_once(self):
        result = self.run_script("install-packages", "--tests", "one-more")
        self.assertEqual(result.returncode, 0, result.stdout)
        self.assertIn("libcmocka-dev", self.get("installed"))
        self.assertIn("one-more", self.get("installed"))
        self.put("calls", "")
        self.assertEqual(self.run_script("install-packages", "--tests", "one-more").returncode, 0)
        self.assertEqual(self.get("calls"), [])

    def test_nothing_is_removed(self):
        self.put("conflicting", "libclc-14\n")
        result = self.run_script("install-packages", "--tests")
        self.assertEqual(result.returncode, 0, result.stdout)
        self.assertIn("libclc-dev", self.get("installed"))
        self.assertNotIn("removed", self.get("calls"))
        self.put("conflicting", "libcmocka-dev\n")
        self.put("installed", "")
        self.assertNotEqual(self.run_script("install-packages", "--tests").returncode, 0)
        self.assertNotIn("removed", self.get("calls"))

    def test_optional_packages_are_left_out_with_a_note(self):
        self.put("unknown", "oclgrind\nlibclang-rt-14-dev\nlibclang-rt-dev\n")
        result = self.run_script("install-packages", "--tests")
        self.assertEqual(result.returncode, 0, result.stdout)
        self.assertIn("Left out, as it cannot be had here: oclgrind\n", result.stdout)
        self.assertIn("Left out, as it cannot be had here: libclang-rt-14-dev or libclang-rt-dev\n", result.stdout)
        self.assertEqual(self.run_script("install-packages", "--left-out").stdout,
                         "oclgrind libclang-rt-14-dev or libclang-rt-dev\n")
        # Those alone neither need the network nor end the script where it is not there.
        self.put("update", "100")
        self.assertEqual(self.run_script("install-packages", "--tests").returncode, 0)

    def test_required_packages_are_required(self):
        self.put("unknown", "libpng-dev\n")
        self.assertNotEqual(self.run_script("install-packages").returncode, 0)

    def test_what_was_skipped_is_said_before_the_closing_lines(self):
        closing = ("99% tests passed, 1 tests failed out of 90\n\nTotal Test time (real) =   7.50 sec\n\n"
                   "The following tests FAILED:\n\t17 - ops/add (Failed)\n")
        self.put("unknown", "oclgrind\n")
        self.put("closing", f"1/90 Test #1: ops/add ......***Failed\n\n{closing}")
        self.put("log", "1/90 Testing: ops/add\nOutput:\nskipped: no such thing\nskipped: no such thing\n"
                 "2/90 Testing: ops/mul\nOutput:\n[  SKIPPED ] mul\nskipped: no other thing\n")
        self.put("status", "8")
        result = self.run_script("test", "-R", "ops")
        self.assertEqual(result.returncode, 8, result.stdout)
        self.assertTrue(result.stdout.endswith(
            "Not installed, and done without: oclgrind\nSkipped in ops/add: no such thing\n"
            f"Skipped in ops/mul: no other thing\n\n{closing}"), result.stdout)
        self.put("status", "0")
        self.assertEqual(self.run_script("test").returncode, 0)


if __name__ == "__main__":
    unittest.main()
