"""The model of one's own that docs/models.md shows."""

import re
from pathlib import Path

from tests.support.paths import ROOT

GUIDE = ROOT / "docs" / "models.md"


def write_own_model(data_dir: Path) -> Path:
    """Put the guide's file into a data folder, as `tiny`."""
    (code,) = re.findall(r"```python\n(.*?)```", GUIDE.read_text("utf-8"), re.DOTALL)
    path = data_dir / "models" / "tiny.py"
    path.parent.mkdir(parents=True)
    path.write_text(code)
    return path
