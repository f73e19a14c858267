#!/usr/bin/env python3
"""Tests the problems and ratios of rivals.py."""
import unittest

from rivals import environment, report


def row(contestant, minimum, problem=None):
    return {"model": "net", "precision": "int8", "batch": 1, "contestant": contestant, "min_ms": minimum,
            "median_ms": 2 * minimum, "problem": problem}


class Report(unittest.TestCase):
    def test_ratio_is_to_the_fastest_rival(self):
        [ratio] = report.ratios([row("clquant", 10), row("openvino", 15), row("ncnn", 12),
                                 row("onnxruntime-exact", 20)])
        self.assertEqual(ratio["rival"], "ncnn")
        self.assertAlmostEqual(ratio["ratio_min"], 1.2)
        self.assertAlmostEqual(ratio["ratio_median"], 1.2)
        self.assertAlmostEqual(ratio["ratio_min_exact"], 2)

    def test_rivals_with_a_problem_do_not_count(self):
        [ratio] = report.ratios([row("clquant", 10), row("openvino", 15), row("ncnn", 1, "computes something else")])
        self.assertEqual(ratio["rival"], "openvino")
        self.assertEqual(report.ratios([row("clquant", 10), row("ncnn", 1, "does not run in int8")]), [])

    def test_problems(self):
        self.assertIsNone(report.problem_of({"relative_difference": 1e-4}, "fp32"))
        self.assertIsNone(report.problem_of({"relative_difference": 0.1, "int8_layers": 54}, "int8"))
        self.assertEqual(report.problem_of({"relative_difference": 0.1}, "fp32"), "computes something else")
        self.assertEqual(report.problem_of({"relative_difference": 1.4, "int8_layers": 54}, "int8"),
                         "computes something else")
        self.assertEqual(report.problem_of({"relative_difference": 0.0, "int8_layers": 0}, "int8"), "does not run in int8")


class Environment(unittest.TestCase):
    def test_vnni(self):
        self.assertTrue(environment.has_vnni({"instruction_sets": ["avx2", "avx_vnni"]}))
        self.assertFalse(environment.has_vnni({"instruction_sets": ["avx2", "avx512f"]}))


if __name__ == "__main__":
    unittest.main()
