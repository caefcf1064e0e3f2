"""How a migration that takes long says how far it is.

from db.migrations import progress

progress.report("100000 of 2500000 predictions")
"""

from alembic import context


def report(message: str) -> None:
    """Tell whoever waits for this migration how far it is, in one line. Where nobody listens, nothing happens."""
    listener = context.config.attributes.get("progress")
    if listener is not None:
        listener(message)
