"""Migrations of a genremill of the future: a database of today's is an older one for it."""

import shutil
from collections.abc import Sequence
from pathlib import Path

from db import revisions

ADDS_A_COLUMN = """
    op.execute("ALTER TABLE library ADD COLUMN {name} INTEGER")
    progress.report("{name} is there")
"""
FAILS = """
    op.execute("ALTER TABLE library ADD COLUMN half INTEGER")
    raise RuntimeError("killed")
"""

MIGRATION = '''"""Step {revision}."""

from alembic import op

from db.migrations import progress

revision = "{revision}"
down_revision = "{previous}"


def upgrade():
    {body}
'''


def write_later_migrations(folder: Path, *bodies: str) -> Path:
    """A copy of the migrations, and further ones of these bodies: 9001, 9002 and so on. Returns its folder."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(revisions.MIGRATIONS, folder, ignore=shutil.ignore_patterns("__pycache__"))
    names = [revisions.newest(), *(f"{9001 + number}" for number in range(len(bodies)))]
    for previous, revision, body in zip(names, names[1:], bodies, strict=False):
        text = MIGRATION.format(revision=revision, previous=previous, body=body.strip())
        (folder / "versions" / f"{revision}_later.py").write_text(text)
    return folder


def columns(names: Sequence[str]) -> list[str]:
    """The bodies of migrations each of which adds a column of this name to `library`."""
    return [ADDS_A_COLUMN.format(name=name) for name in names]
