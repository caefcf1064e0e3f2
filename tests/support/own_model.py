"""The user's own model that docs/models.md shows, so that tests run what the guide says."""

import re
from pathlib import Path

from tests.support.paths import ROOT

GUIDE = ROOT / "docs" / "models.md"


def write_own_model(data_dir: Path) -> Path:
    """Write the guide's only block of Python into a data folder, as the model `tiny`. Returns the file."""
    (code,) = re.findall(r"```python\n(.*?)```", GUIDE.read_text("utf-8"), re.DOTALL)
    path = data_dir / "models" / "tiny.py"
    path.parent.mkdir(parents=True)
    path.write_text(code)
    return path
