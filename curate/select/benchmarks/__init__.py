"""Benchmarks that training data must not contain, read from their published files."""

from curate.select.benchmarks.layouts import LAYOUTS
from curate.select.benchmarks.load import BenchmarkRow, BenchmarkRows, read_rows
from curate.select.benchmarks.pictures import BenchmarkPictures, Measure, benchmark_key, benchmark_pictures

__all__ = [
    "LAYOUTS",
    "BenchmarkPictures",
    "BenchmarkRow",
    "BenchmarkRows",
    "Measure",
    "benchmark_key",
    "benchmark_pictures",
    "read_rows",
]
