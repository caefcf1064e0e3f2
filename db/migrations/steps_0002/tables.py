"""The tables of migration 0002, as it makes them. What they hold afterwards is in db.tables."""

import sqlalchemy as sa
from alembic import op

REPLACED = ("track", "genre", "run_library", "job", "prediction", "score")  # Tables that this migration makes anew.
PATH = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")  # In the order of bytes.
SUFFIX = "_0001"  # What the names of the old ones end with, until their rows are copied.


def rename_old_tables() -> None:
    """Let the old tables make room for the new ones. Names of their indexes must be free, too."""
    connection = op.get_bind()
    inspector = sa.inspect(connection)
    for table in REPLACED:
        for index in inspector.get_indexes(table):
            if not index.get("duplicates_constraint"):
                op.drop_index(str(index["name"]), table_name=table)
        op.rename_table(table, table + SUFFIX)
        if connection.dialect.name == "postgresql":
            _rename_constraints(inspector, table)


def _rename_constraints(inspector: sa.Inspector, table: str) -> None:
    """In PostgreSQL a constraint that has an index takes the index's name, too, and serial columns have sequences."""
    constraints = [inspector.get_pk_constraint(table), *inspector.get_unique_constraints(table)]
    for name in [constraint["name"] for constraint in constraints]:
        op.execute(f'ALTER TABLE {table}{SUFFIX} RENAME CONSTRAINT "{name}" TO "{name}{SUFFIX}"')
    op.execute(f"ALTER SEQUENCE IF EXISTS {table}_id_seq RENAME TO {table}{SUFFIX}_id_seq")


def drop_old_tables() -> None:
    """Drop the tables whose rows were copied, the children before their parents."""
    for table in reversed(REPLACED):
        op.drop_table(table + SUFFIX)


def create_tables() -> None:
    """Make the new tables, without indexes."""
    if op.get_bind().dialect.name == "postgresql":
        op.alter_column("library", "root", type_=PATH)
    op.add_column("library", sa.Column("missing_since", sa.DateTime(timezone=True), nullable=True))
    _create_track()
    _create_genre()
    _create_run_library()
    _create_job()
    _create_prediction()
    _create_score()
    op.create_table(
        "embedding",
        sa.Column("prediction_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("vector", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("prediction_id", name="pk_embedding"),
    )


def create_indexes() -> None:
    """Make the indexes. This is faster after the rows are there."""
    op.create_index("ix_track_audio_hash", "track", ["audio_hash"])
    _create_index_of_known("track", "album")
    op.create_index("ix_job_run_id", "job", ["run_id"])
    op.create_index("ix_job_status_lease_until", "job", ["status", "lease_until"])
    queued = sa.text("status = 'queued'")
    op.create_index("ix_job_queue_id", "job", ["queue", "id"], sqlite_where=queued, postgresql_where=queued)
    op.create_index("ix_prediction_run_id_status", "prediction", ["run_id", "status"])
    _create_index_of_known("prediction", "job_id")
    _create_index_of_known("prediction", "duplicate_of")


def _create_index_of_known(table: str, column: str) -> None:
    where = sa.text(f"{column} IS NOT NULL")
    op.create_index(f"ix_{table}_{column}", table, [column], sqlite_where=where, postgresql_where=where)


def _create_track() -> None:
    op.create_table(
        "track",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("library_id", sa.Integer(), nullable=False),
        sa.Column("path", PATH, nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("mtime_ns", sa.BigInteger(), nullable=False),
        sa.Column("audio_hash", sa.BigInteger(), nullable=True),
        sa.Column("duration_s", sa.Double(), nullable=True),
        sa.Column("codec", sa.Text(), nullable=True),
        sa.Column("sample_rate", sa.Integer(), nullable=True),
        sa.Column("channels", sa.Integer(), nullable=True),
        sa.Column("title", sa.Text(), nullable=True),
        sa.Column("artist", sa.Text(), nullable=True),
        sa.Column("album_artist", sa.Text(), nullable=True),
        sa.Column("album", sa.Text(), nullable=True),
        sa.Column("year", sa.Integer(), nullable=True),
        sa.Column("tagged_genre", sa.Text(), nullable=True),
        sa.Column("first_seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("missing_since", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["library_id"], ["library.id"], name="fk_track_library_id"),
        sa.PrimaryKeyConstraint("id", name="pk_track"),
        sa.UniqueConstraint("library_id", "path", name="uq_track_library_id_path"),
    )


def _create_genre() -> None:
    op.create_table(
        "genre",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("model_id", sa.Integer(), nullable=False),
        sa.Column("position", sa.SmallInteger(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.CheckConstraint("kind IN ('genre', 'mood', 'era', 'instrument', 'voice')", name="ck_genre_kind"),
        sa.ForeignKeyConstraint(["model_id"], ["model.id"], name="fk_genre_model_id"),
        sa.PrimaryKeyConstraint("id", name="pk_genre"),
        sa.UniqueConstraint("name", "model_id", name="uq_genre_name_model_id"),
        sa.UniqueConstraint("model_id", "position", name="uq_genre_model_id_position"),
    )


def _create_run_library() -> None:
    op.create_table(
        "run_library",
        sa.Column("run_id", sa.Integer(), nullable=False),
        sa.Column("library_id", sa.Integer(), nullable=False),
        sa.Column("path", PATH, nullable=False),
        sa.ForeignKeyConstraint(["library_id"], ["library.id"], name="fk_run_library_library_id"),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"], name="fk_run_library_run_id"),
        sa.PrimaryKeyConstraint("run_id", "library_id", "path", name="pk_run_library"),
    )


def _create_job() -> None:
    op.create_table(
        "job",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("run_id", sa.Integer(), nullable=False),
        sa.Column("queue", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("tracks", sa.Integer(), nullable=False),
        sa.Column("audio_s", sa.Double(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("worker", sa.Text(), nullable=True),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("queued_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("status IN ('queued', 'running', 'done', 'split')", name="ck_job_status"),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"], name="fk_job_run_id"),
        sa.PrimaryKeyConstraint("id", name="pk_job"),
    )


def _create_prediction() -> None:
    op.create_table(
        "prediction",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("track_id", sa.Integer(), nullable=False),
        sa.Column("model_id", sa.Integer(), nullable=False),
        sa.Column("coverage", sa.Text(), nullable=False),
        sa.Column("is_newest", sa.Boolean(), nullable=False),
        sa.Column("run_id", sa.Integer(), nullable=False),
        sa.Column("job_id", sa.Integer(), nullable=True),
        sa.Column("status", sa.Text(), nullable=False),
        *_list_array_columns(),
        sa.Column("audio_hash", sa.BigInteger(), nullable=True),
        sa.Column("duplicate_of", sa.Integer(), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("first_genre_id", sa.Integer(), nullable=True),
        sa.Column("first_probability", sa.REAL(), nullable=True),
        sa.Column("error_code", sa.Text(), nullable=True),
        sa.Column("error_detail", sa.Text(), nullable=True),
        sa.Column("windows", sa.Integer(), nullable=True),
        sa.Column("device", sa.Text(), nullable=True),
        sa.Column("amp", sa.Boolean(), nullable=True),
        sa.Column("elapsed_ms", sa.REAL(), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("coverage IN ('regions', 'full')", name="ck_prediction_coverage"),
        sa.CheckConstraint(
            "status IN ('pending', 'queued', 'running', 'done', 'failed', 'quarantined', 'duplicate')",
            name="ck_prediction_status",
        ),
        sa.ForeignKeyConstraint(["duplicate_of"], ["track.id"], name="fk_prediction_duplicate_of"),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"], name="fk_prediction_job_id"),
        sa.ForeignKeyConstraint(["model_id"], ["model.id"], name="fk_prediction_model_id"),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"], name="fk_prediction_run_id"),
        sa.ForeignKeyConstraint(["track_id"], ["track.id"], name="fk_prediction_track_id"),
        sa.PrimaryKeyConstraint("id", name="pk_prediction"),
        sa.UniqueConstraint("track_id", "model_id", "coverage", name="uq_prediction_track_id_model_id_coverage"),
    )


def _list_array_columns() -> list[sa.Column[list[float]] | sa.Column[list[int]]]:
    """PostgreSQL has the scores in two arrays. It reads a row's first columns faster than the last ones."""
    if op.get_bind().dialect.name != "postgresql":
        return []
    return [
        sa.Column("probabilities", sa.ARRAY(sa.REAL()), nullable=True),
        sa.Column("ranks", sa.ARRAY(sa.SmallInteger()), nullable=True),
    ]


def _create_score() -> None:
    """SQLite has a row for each score. Those of a genre lie side by side."""
    if op.get_bind().dialect.name == "postgresql":
        return
    op.create_table(
        "score_row",
        sa.Column("genre_id", sa.Integer(), nullable=False),
        sa.Column("prediction_id", sa.Integer(), nullable=False),
        sa.Column("millionths", sa.Integer(), nullable=False),
        sa.Column("rank", sa.SmallInteger(), nullable=False),
        sa.PrimaryKeyConstraint("genre_id", "prediction_id", name="pk_score_row"),
        sqlite_with_rowid=False,
    )
