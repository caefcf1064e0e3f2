"""Benchmarks are not run by tests. But what they use of the product has to be there."""

import os
import subprocess
import sys

from tests.support.paths import ROOT

IMPORT_ALL = "import importlib, sys; [importlib.import_module(name) for name in sys.argv[1:]]"


def test_every_benchmark_can_be_imported():
    paths = [path.relative_to(ROOT).with_suffix("") for path in sorted((ROOT / "benchmarks").rglob("*.py"))]
    modules = [".".join(path.parts) for path in paths if path.name not in ("__init__", "__main__")]
    assert modules
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}  # They are not installed.
    command = [sys.executable, "-c", IMPORT_ALL, *modules]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
