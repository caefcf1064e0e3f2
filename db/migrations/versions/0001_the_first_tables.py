"""The first tables, and the views that people select from."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

TRACK_TAG = """
CREATE VIEW track_tag AS
SELECT library.root || '/' || track.path AS path, track.title, track.artist, track.album,
       model.name AS model, prediction.coverage, genre.kind, genre.name AS genre, score.probability,
       row_number() OVER (
           PARTITION BY prediction.track_id, prediction.model_id, prediction.coverage, genre.kind
           ORDER BY score.probability DESC, genre.id
       ) AS rank
FROM prediction
JOIN track ON track.id = prediction.track_id
JOIN library ON library.id = track.library_id
JOIN model ON model.id = prediction.model_id
JOIN prediction AS source ON source.track_id = coalesce(prediction.duplicate_of, prediction.track_id)
    AND source.model_id = prediction.model_id AND source.coverage = prediction.coverage
JOIN score ON score.track_id = source.track_id
    AND score.model_id = source.model_id AND score.coverage = source.coverage
JOIN genre ON genre.id = score.genre_id
WHERE prediction.status IN ('done', 'duplicate') AND source.status = 'done' AND track.missing_since IS NULL
"""

TRACK_GENRE = """
CREATE VIEW track_genre AS
SELECT path, title, artist, album, model, coverage, genre, probability, rank FROM track_tag WHERE kind = 'genre'
"""


def upgrade() -> None:
    _create_libraries()
    _create_models()
    _create_runs()
    _create_predictions()
    op.execute(TRACK_TAG)
    op.execute(TRACK_GENRE)


def _create_libraries() -> None:
    op.create_table(
        "library",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("root", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_library"),
        sa.UniqueConstraint("root", name="uq_library_root"),
    )
    op.create_table(
        "track",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("library_id", sa.Integer(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("mtime_ns", sa.BigInteger(), nullable=False),
        sa.Column("audio_hash", sa.Text(), nullable=True),
        sa.Column("duration_s", sa.Double(), nullable=True),
        sa.Column("codec", sa.Text(), nullable=True),
        sa.Column("sample_rate", sa.Integer(), nullable=True),
        sa.Column("channels", sa.Integer(), nullable=True),
        sa.Column("title", sa.Text(), nullable=True),
        sa.Column("artist", sa.Text(), nullable=True),
        sa.Column("album", sa.Text(), nullable=True),
        sa.Column("tagged_genre", sa.Text(), nullable=True),
        sa.Column("first_seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("missing_since", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["library_id"], ["library.id"], name="fk_track_library_id"),
        sa.PrimaryKeyConstraint("id", name="pk_track"),
        sa.UniqueConstraint("library_id", "path", name="uq_track_library_id_path"),
    )
    op.create_index("ix_track_audio_hash", "track", ["audio_hash"], unique=False)


def _create_models() -> None:
    op.create_table(
        "model",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("weights_sha256", sa.Text(), nullable=False),
        sa.Column("features", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_model"),
        sa.UniqueConstraint("name", "version", "weights_sha256", name="uq_model_name_version_weights_sha256"),
    )
    op.create_table(
        "genre",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("model_id", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.CheckConstraint("kind IN ('genre', 'mood', 'era', 'instrument', 'voice')", name="ck_genre_kind"),
        sa.ForeignKeyConstraint(["model_id"], ["model.id"], name="fk_genre_model_id"),
        sa.PrimaryKeyConstraint("id", name="pk_genre"),
        sa.UniqueConstraint("model_id", "name", name="uq_genre_model_id_name"),
    )


def _create_runs() -> None:
    op.create_table(
        "run",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("model_id", sa.Integer(), nullable=False),
        sa.Column("coverage", sa.Text(), nullable=False),
        sa.Column("found", sa.Integer(), nullable=False),
        sa.Column("skipped", sa.Integer(), nullable=False),
        sa.Column("handed_over", sa.Integer(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["model_id"], ["model.id"], name="fk_run_model_id"),
        sa.PrimaryKeyConstraint("id", name="pk_run"),
    )
    op.create_table(
        "job",
        sa.Column("id", sa.Text(), nullable=False),
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
    op.create_index("ix_job_run_id", "job", ["run_id"], unique=False)
    op.create_index("ix_job_status_lease_until", "job", ["status", "lease_until"], unique=False)
    op.create_table(
        "run_library",
        sa.Column("run_id", sa.Integer(), nullable=False),
        sa.Column("library_id", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["library_id"], ["library.id"], name="fk_run_library_library_id"),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"], name="fk_run_library_run_id"),
        sa.PrimaryKeyConstraint("run_id", "library_id", name="pk_run_library"),
    )


def _create_predictions() -> None:
    op.create_table(
        "prediction",
        sa.Column("track_id", sa.Integer(), nullable=False),
        sa.Column("model_id", sa.Integer(), nullable=False),
        sa.Column("coverage", sa.Text(), nullable=False),
        sa.Column("run_id", sa.Integer(), nullable=False),
        sa.Column("job_id", sa.Text(), nullable=True),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("audio_hash", sa.Text(), nullable=True),
        sa.Column("duplicate_of", sa.Integer(), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("error_code", sa.Text(), nullable=True),
        sa.Column("error_detail", sa.Text(), nullable=True),
        sa.Column("windows", sa.Integer(), nullable=True),
        sa.Column("device", sa.Text(), nullable=True),
        sa.Column("amp", sa.Boolean(), nullable=True),
        sa.Column("elapsed_ms", sa.Double(), nullable=True),
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
        sa.PrimaryKeyConstraint("track_id", "model_id", "coverage", name="pk_prediction"),
    )
    op.create_index("ix_prediction_audio_hash", "prediction", ["audio_hash"], unique=False)
    op.create_index("ix_prediction_duplicate_of", "prediction", ["duplicate_of"], unique=False)
    op.create_index("ix_prediction_job_id", "prediction", ["job_id"], unique=False)
    op.create_index("ix_prediction_run_id_status", "prediction", ["run_id", "status"], unique=False)
    op.create_table(
        "score",
        sa.Column("track_id", sa.Integer(), nullable=False),
        sa.Column("model_id", sa.Integer(), nullable=False),
        sa.Column("coverage", sa.Text(), nullable=False),
        sa.Column("genre_id", sa.Integer(), nullable=False),
        sa.Column("probability", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["genre_id"], ["genre.id"], name="fk_score_genre_id"),
        sa.ForeignKeyConstraint(
            ["track_id", "model_id", "coverage"],
            ["prediction.track_id", "prediction.model_id", "prediction.coverage"],
            name="fk_score_track_id_model_id_coverage",
        ),
        sa.PrimaryKeyConstraint("track_id", "model_id", "coverage", "genre_id", name="pk_score"),
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    op.execute("DROP VIEW track_genre")
    op.execute("DROP VIEW track_tag")
    op.drop_table("score")
    op.drop_index("ix_prediction_run_id_status", table_name="prediction")
    op.drop_index("ix_prediction_job_id", table_name="prediction")
    op.drop_index("ix_prediction_audio_hash", table_name="prediction")
    op.drop_index("ix_prediction_duplicate_of", table_name="prediction")
    op.drop_table("prediction")
    op.drop_table("run_library")
    op.drop_index("ix_job_status_lease_until", table_name="job")
    op.drop_index("ix_job_run_id", table_name="job")
    op.drop_table("job")
    op.drop_index("ix_track_audio_hash", table_name="track")
    op.drop_table("track")
    op.drop_table("run")
    op.drop_table("genre")
    op.drop_table("model")
    op.drop_table("library")
