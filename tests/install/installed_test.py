#!/usr/bin/env python3
"""Installs clquant from a build folder into another one and uses it there as a stranger would.

    installed_test.py --build BUILD --version 1.2.3 --cmake CMAKE --cc CC [--flags FLAGS] [--help2man]
"""
import argparse
import os
import re
import shlex
import shutil
import subprocess
import sys
import unittest
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[2]
HEADERS = sorted((SOURCE / "include" / "clquant").glob("*.h"))
# Folders that others install into, too, and that an uninstall leaves.
COMMON_FOLDERS = {"bin", "include", "lib", "lib/cmake", "lib/pkgconfig", "share", "share/bash-completion",
                  "share/bash-completion/completions", "share/doc", "share/man", "share/man/man1"}
# The programs in examples/, what they are called with, and what they write.
EXAMPLES = (("quantize", ["{model}"], "verified: 0 of "),
            ("devices", [], "taken: .+, dot products by "),
            ("infer", ["{model}"], r"(?m)^logits:( -?[0-9.e+-]+){5}$"),
            ("ptq", ["{fp32}", "{model}"], r"weights per_channel\nwritten: "),
            ("qat", ["{fp32}", "synthetic:train=128,test=16,size=12", "{model}"], r"qat, calibrated on \d+\nwritten: "),
            ("verify", ["{model}", "synthetic:train=16,test=16,size=12"], r"(?m)^0 of \d+ codes differ$"),
            ("bench", ["{model}"], '"batch":8'))
options = None
ENVIRONMENT = {**os.environ, "LC_ALL": "C.UTF-8"}


def run(*command, status=0, **more):
    """What the command writes, after checking its exit status."""
    result = subprocess.run([str(word) for word in command], text=True, stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, **{"env": ENVIRONMENT, **more})
    if result.returncode != status:
        raise AssertionError(f"{shlex.join(map(str, command))}: exit status {result.returncode}\n{result.stdout}")
    return result.stdout


def install(prefix):
    """Returns the list of what was installed; that of an install by the user stays as it is."""
    shutil.rmtree(prefix, ignore_errors=True)
    run(options.cmake, "--install", options.build, "--prefix", prefix, "--component", "Unspecified")
    return options.build / "install_manifest_Unspecified.txt"


def declared():
    """Names of all functions and variables that the public headers declare."""
    names = set()
    for header in HEADERS:
        text = re.sub(r"/\*.*?\*/", "", header.read_text(), flags=re.S)
        text = re.sub(r"^\s*#(.*\\\n)*.*$", "", text, flags=re.M)
        text = re.sub(r"__attribute__\s*\(\(.*?\)\)(?=\s*;)", "", text, flags=re.S)
        while re.search(r"\{[^{}]*\}", text):
            text = re.sub(r"\{[^{}]*\}", "", text)
        for statement in text.replace("CLQ_API_BEGIN", ";").replace("CLQ_API_END", ";").split(";"):
            statement = " ".join(statement.split())
            function = re.match(r"[^(]*?\b(clq_\w+) ?\(", statement)
            variable = re.match(r"extern .*?\b(clq_\w+)( ?\[.*)?$", statement)
            if not statement.startswith(("typedef", "static")) and (function or variable):
                names.add((function or variable).group(1))
    return names


def commands(clquant):
    return re.findall(r"^  ([a-z]+) +\S", run(clquant, "--help"), flags=re.M)


def long_options(clquant, command):
    return set(re.findall(r"\[(--[a-z0-9-]+)", run(clquant, command, "--usage")))


class Installed(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        # Moved after the install, as packages are.
        cls.folder = options.build / "install-test"
        shutil.rmtree(cls.folder, ignore_errors=True)
        install(cls.folder / "before")
        cls.prefix = (cls.folder / "before").rename(cls.folder / "prefix")
        cls.clquant = cls.prefix / "bin" / "clquant"
        cls.example = cls.prefix / "share" / "doc" / "clquant" / "examples"
        cls.commands = commands(cls.clquant)
        cls.environment = {**ENVIRONMENT, "LD_LIBRARY_PATH": str(cls.prefix / "lib"),
                           "PKG_CONFIG_PATH": str(cls.prefix / "lib" / "pkgconfig")}

    def test_the_library_exports_what_the_headers_declare(self):
        lines = run("nm", "-D", "--defined-only", self.prefix / "lib" / "libclquant.so").splitlines()
        exported = {line.split()[-1] for line in lines if "__odr_asan." not in line}  # the sanitizer's own
        names = declared()
        self.assertGreater(len(names), 100)
        self.assertEqual(exported - names, set(), "exported, but in no public header")
        self.assertEqual(names - exported, set(), "in a public header, but not exported")

    def test_every_header_is_usable_alone_and_in_cxx(self):
        for header in HEADERS:
            for language in ("c", "c++"):
                run(options.cc, "-x", language, "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-fsyntax-only",
                    f"-I{self.prefix}/include", self.prefix / "include" / "clquant" / header.name)

    def test_commands_are_listed(self):
        self.assertGreater(len(self.commands), 10)
        self.assertIn(options.version, run(self.clquant, "--version").split())

    def test_example_by_pkg_config(self):
        flags = run("pkg-config", "--cflags", "--libs", "clquant", env=self.environment).split()
        self.assertEqual([flag for flag in flags if flag.startswith("-l")], ["-lclquant"])
        self.assertEqual(run("pkg-config", "--modversion", "clquant", env=self.environment).strip(), options.version)
        for path in self.example.glob("*.c"):
            run(options.cc, "-std=c11", "-Wall", "-Wextra", "-Wpedantic", "-Werror", *options.flags,
                path, "-o", self.folder / path.stem, *flags)
        self.assertIn("taken: ", run(self.folder / "devices", env=self.environment))

    def test_example_by_cmake(self):
        build = self.folder / "example"
        run(options.cmake, "-S", self.example, "-B", build, "-D", f"CMAKE_PREFIX_PATH={self.prefix}",
            "-D", f"CMAKE_C_COMPILER={options.cc}", "-D", f"CMAKE_C_FLAGS={' '.join(options.flags)}")
        run(options.cmake, "--build", build)
        found = run(build / "quantize", status=69, env={**ENVIRONMENT, "CLQUANT_DEVICE": "no such device"})
        self.assertIn("no such device", found)
        # Each example as its first lines say, one after the other.
        model, fp32 = self.folder / "by-cmake.onnx", self.folder / "fp32.onnx"
        run(self.clquant, "convert", "--network", "resnet20", "--size", "12", "--classes", "10", "-o", fp32)
        for example, arguments, expected in EXAMPLES:
            arguments = [word.format(model=model, fp32=fp32) for word in arguments]
            self.assertRegex(run(build / example, *arguments, cwd=self.folder), expected)
            if example == "quantize":
                # The model tells the installed command how its images are prepared and what its classes are.
                found = run(self.clquant, "eval", model, "--data", "synthetic:train=16,test=16,size=12", "--json", "-q")
                self.assertIn('"images":16', found.replace(" ", ""))
        self.assertEqual({path.stem for path in self.example.glob("*.c")}, {example for example, _, _ in EXAMPLES})
        for path in self.example.glob("*.c"):
            self.assertTrue(path.stem == "quantize" or len(path.read_text().splitlines()) < 60, path)

    def test_recipes(self):
        folder = self.prefix / "share" / "clquant" / "recipes"
        self.assertEqual({path.name for path in folder.iterdir()},
                         {path.name for path in (SOURCE / "models" / "recipes").iterdir()})
        # Found by name from anywhere, behind a file of the same name.
        elsewhere = self.folder / "elsewhere"
        elsewhere.mkdir()
        train = (self.clquant, "train", "--data", "synthetic", "--out", self.folder / "out", "--set", "train.epochs=-1")
        for name in ("resnet20-cifar10", "resnet20-cifar10.json"):
            self.assertIn(f"--set train.epochs=-1: {folder}/resnet20-cifar10.json: train.epochs",
                          run(*train, name, status=64, cwd=elsewhere))
        self.assertIn(f"no such recipe: no such file, nor a recipe in {self.prefix}/bin/../share/clquant/recipes",
                      run(*train, "no such recipe", status=66, cwd=elsewhere))
        self.assertIn("./resnet20-cifar10: cannot open", run(*train, "./resnet20-cifar10", status=66, cwd=elsewhere))
        (elsewhere / "resnet20-cifar10").write_text("{}")
        self.assertIn("--set train.epochs=-1: resnet20-cifar10: train.epochs",
                      run(*train, "resnet20-cifar10", status=64, cwd=elsewhere))

    def test_man_pages(self):
        folder = self.prefix / "share" / "man" / "man1"
        if not options.help2man:
            self.skipTest("help2man is not here")
        overview = (folder / "clquant.1").read_text()
        pages = {"clquant.1"}
        for command in self.commands:
            page = folder / f"clquant-{command}.1"
            pages.add(page.name)
            text = page.read_text().replace("\\-", "-")
            self.assertIn(f"clquant-{command} (1)", overview)
            self.assertIn(f"clquant-{command} - ", text)
            for option in long_options(self.clquant, command):
                self.assertIn(option, text, page)
        self.assertEqual({path.name for path in folder.iterdir()}, pages)
        if shutil.which("man"):
            environment = {**ENVIRONMENT, "MANROFFOPT": "-ww", "MANWIDTH": "80", "PAGER": "cat"}
            for page in pages:
                text = run("man", "--warnings", "-l", folder / page, env=environment)
                for section in ("SYNOPSIS", "EXIT STATUS", "ENVIRONMENT", "FILES"):
                    self.assertRegex(text, rf"(?m)^{section}$")
                self.assertNotIn("warning:", text)
                # An option begins a line alone, and its description the next one, in a column of its own.
                self.assertNotRegex(text, r"(?m)^ +(-., )?--[a-z0-9-]+(=[^ \n]+)?  +[A-Z]")
            help = run(self.clquant, "train", "--help")
            text = run("man", "-l", folder / "clquant-train.1", env=environment)
            examples = re.findall(r"(?m)^  (clquant .*)$", help)
            self.assertGreater(len(examples), 0)
            for example in examples:
                self.assertRegex(text, rf"(?m)^ +{re.escape(example)}$")

    def complete(self, *words):
        """What bash offers for the last word of a command line."""
        script = ('source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); '
                  '_clquant "$1" "${@: -1}" "${@: -2:1}"; printf "%s\\n" "${COMPREPLY[@]}"')
        found = run("bash", "-c", script, "bash", self.prefix / "share" / "bash-completion" / "completions" / "clquant",
                    self.clquant, *words, cwd=self.prefix / "share" / "clquant" / "recipes")
        return set(found.split())

    def test_completion(self):
        self.assertEqual(self.complete(""), {*self.commands, "help", "--help", "--version"})
        self.assertEqual(self.complete("tra"), {"train"})
        for command in self.commands:
            self.assertEqual(self.complete(command, "--"), long_options(self.clquant, command), command)
        self.assertEqual(self.complete("ptq", "--scale", ""), {"float", "pow2"})
        self.assertEqual(self.complete("ptq", "--scale", "=", "p"), {"pow2"})
        self.assertEqual(self.complete("ptq", "-o", "../"), {"../recipes"})
        self.assertEqual(self.complete("ptq", "--data", "x.csv", "../"), {"../recipes"})
        self.assertEqual(self.complete("train", "resnet18"), {"resnet18-cifar10.json", "resnet18-cifar10"})
        self.assertEqual(self.complete("run", "./resnet18"), {"./resnet18-cifar10.json"})
        self.assertEqual(self.complete("ptq", "resnet18"), set())
        self.assertEqual(self.complete("no-such-command", "--"), set())
        self.assertEqual(self.complete("help", "tr"), {"train"})
        self.assertEqual(self.complete("convert", "--network", "resnet10"), {"resnet101"})
        self.assertEqual(self.complete("eval", "--interpolation", "bi"), {"bilinear", "bicubic"})
        self.assertEqual(self.complete("eval", "-d", ""), {"cpu", "gpu"})
        self.assertEqual(self.complete("eval", "--data", "syn"), {"synthetic"})
        self.assertEqual(self.complete("bench", "--train", "resnet50"),
                         {"resnet50", "resnet50-cifar10", "resnet50-cifar10.json"})


class Uninstalled(unittest.TestCase):
    def test_nothing_is_left_but_what_is_of_others(self):
        prefix = options.build / "install-test" / "removed [1] ü" # of which patterns and lists make others
        manifest = install(prefix)
        self.assertGreater(len(manifest.read_text().split()), 30)
        others = prefix / "include" / "clquant" / "of-another.h"
        others.touch()
        run(options.cmake, "-D", f"MANIFEST={manifest}", "-P", SOURCE / "cmake" / "uninstall.cmake")
        left = [path for path in prefix.rglob("*") if path != others and path != others.parent]
        self.assertTrue(others.exists())
        self.assertEqual({str(path.relative_to(prefix)) for path in left} - COMMON_FOLDERS, set())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=Path, required=True)
    parser.add_argument("--version", required=True)
    parser.add_argument("--cmake", required=True)
    parser.add_argument("--cc", required=True)
    parser.add_argument("--flags", type=str.split, default=[], help="of compiler and linker")
    parser.add_argument("--help2man", action="store_true", help="there have to be man pages")
    options, rest = parser.parse_known_args()
    unittest.main(argv=[sys.argv[0], *rest])
