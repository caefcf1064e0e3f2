"""What a user's own model may import from `worker.features`, and that it costs no more than torch."""

import subprocess
import sys

import worker.features
from tests.support.paths import ROOT


def test_the_package_offers_what_the_guide_names():
    guide = (ROOT / "docs" / "models.md").read_text("utf-8")
    assert [name for name in worker.features.__all__ if f"`{name}`" not in guide] == []
    assert [name for name in worker.features.__all__ if not hasattr(worker.features, name)] == []


def test_importing_it_loads_no_library_beyond_torch():
    code = (
        "import sys, torch, numpy; before = set(sys.modules); import worker.features;"
        "print(*{name.split('.')[0] for name in set(sys.modules) - before} - {'worker', 'numpy'})"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
