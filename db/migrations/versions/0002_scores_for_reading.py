"""Scores in a shape for reading, predictions and jobs with numbers, and more of what files say.

All of it is one transaction: what is interrupted begins anew, and until the end others see the old tables.
"""

from db.migrations import progress
from db.migrations.steps_0002 import rows, tables, views

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    views.drop_old_views()
    tables.rename_old_tables()
    tables.create_tables()
    for step in rows.copy_rows():
        progress.report(step)
    progress.report("indexes")
    tables.create_indexes()
    tables.drop_old_tables()
    rows.reset_sequences()
    views.create_views()


def downgrade() -> None:
    raise NotImplementedError("there is no way back to the tables of genremill 0.1: restore a copy of the database")
