"""`genremill status`, `results`, `genres` and `errors`: how they print what the database says."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from typer.testing import CliRunner

import settings
from db import revisions
from db.reports import RunReport
from db.runs import Counts
from db.session import connect
from genremill import console
from genremill.cli import app
from genremill.commands.errors import print_errors
from genremill.commands.genres import print_genres
from genremill.commands.status import describe_state, measure_rate
from tests.support.later_migrations import columns, write_later_migrations

START = datetime(2024, 5, 1, tzinfo=UTC)


def make_run(finished_at: datetime | None = None, **counts: int) -> RunReport:
    """A run that began at START. Counts that are not named are 0."""
    names = ("found", "skipped", "handed_over", "pending", "queued", "running")
    names += ("done", "failed", "quarantined", "duplicate")
    return RunReport(
        id=1,
        model="musicnn",
        coverage="regions",
        libraries=(b"/music",),
        started_at=START,
        finished_at=finished_at,
        counts=Counts(**{name: counts.get(name, 0) for name in names}),
        jobs_queued=3,
        jobs_running=2,
    )


def test_the_rate_counts_what_ended_since_the_run_began():
    run = make_run(found=100, skipped=10, handed_over=10, failed=5, done=35, queued=30, pending=10)
    assert measure_rate(run, START + timedelta(seconds=20)) == {"tracks_per_s": 2.0, "eta_s": 20.0}


def test_the_rate_of_a_finished_run_is_that_at_its_end():
    run = make_run(START + timedelta(seconds=10), found=100, done=100)
    assert measure_rate(run, START + timedelta(days=1)) == {"tracks_per_s": 10.0, "eta_s": 0.0}


@pytest.mark.parametrize("seconds", [0, 20])
def test_a_run_of_which_nothing_has_ended_has_no_time_left(seconds):
    run = make_run(found=100, queued=100)
    assert measure_rate(run, START + timedelta(seconds=seconds)) == {"tracks_per_s": 0.0, "eta_s": None}


def test_the_state_of_a_run_says_what_its_jobs_do():
    now = START + timedelta(seconds=20)
    assert describe_state(make_run(found=60, done=40, queued=20), now) == (
        "2 jobs running, 3 queued, 2.0 tracks/s, 10 s left"
    )
    assert describe_state(make_run(found=60, queued=60), now) == "2 jobs running, 3 queued, 0.0 tracks/s"
    assert describe_state(make_run(now, found=60, done=60), now) == "finished"


def genre_row(model: str, genre: str) -> dict:
    return {"model": model, "genre": genre, "tracks": 7, "mean_probability": 0.12345}


def test_the_model_is_a_column_only_where_there_are_several(capsys):
    print_genres("Genres", [genre_row("musicnn", "rock"), genre_row("musicnn", "pop")])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].strip() == "Genres"
    assert lines[1].split() == ["genre", "tracks", "mean", "probability"]
    assert lines[2].split() == ["rock", "7", "0.123"]
    print_genres("Genres", [genre_row("musicnn", "rock"), genre_row("tiny", "rock")])
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split() == ["model", "genre", "tracks", "mean", "probability"]
    assert lines[3].split() == ["tiny", "rock", "7", "0.123"]


def test_an_error_is_printed_with_its_path_as_text(capsys):
    print_errors("Failed: 1", [{"path": b"/caf\xe9.mp3", "code": "undecodable", "detail": "[no] audio"}])
    title, heading, row = capsys.readouterr().out.splitlines()
    assert title.strip() == "Failed: 1 in /"
    assert heading.split() == ["file", "code", "what", "happened"]
    assert row.split() == ["caf\\xe9.mp3", "undecodable", "[no]", "audio"]


def test_a_folder_whose_name_looks_like_markup_is_printed_as_it_is(capsys):
    path = b"/a folder whose name is longer than the table/[red]/a.mp3"
    print_errors("Failed: 1", [{"path": path, "code": "silent", "detail": "x"}])
    assert capsys.readouterr().out.splitlines()[0] == f"Failed: 1 in {path.decode()[:-6]}"


@pytest.fixture
def empty_database(data_dir):
    """A database with tables but without rows, where the settings say."""
    connect(settings.load().database).close()


@pytest.mark.parametrize(
    ("arguments", "printed"),
    [
        (["status"], "no runs yet: `genremill run FOLDER` makes one\n"),
        (["errors"], "nothing failed\n"),
        (["results", "--format", "csv"], "path,title,artist,album,model,genre,probability,rank,coverage\n"),
    ],
)
def test_an_empty_database_is_told(empty_database, arguments, printed):
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0
    assert result.stdout.replace("\r\n", "\n") == printed


@pytest.mark.parametrize(
    "arguments", [["status", "--json"], ["errors", "--json"], ["genres", "--json"], ["results", "--format", "json"]]
)
def test_an_empty_database_is_an_empty_list_as_json(empty_database, arguments):
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0
    assert json.loads(result.stdout) == []


READERS = [["status"], ["status", "--watch"], ["results"], ["results", "--format", "csv"], ["genres"], ["errors"]]


def run_reader(arguments, capsys) -> str:
    """What a command that ends with exit code 2 prints on stderr. On stdout it prints nothing."""
    assert console.guarded(lambda: app(arguments, prog_name="genremill")) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    return printed.err


@pytest.mark.parametrize("arguments", READERS, ids=" ".join)
def test_where_nothing_was_analysed_a_reader_says_how_to_begin_and_makes_nothing(data_dir, arguments, capsys):
    printed = run_reader(arguments, capsys)
    assert printed.startswith("genremill: nothing was analysed yet")
    assert "`genremill run FOLDER`" in printed
    assert printed.count("\n") == 1
    assert not data_dir.exists()


@pytest.mark.parametrize("arguments", READERS, ids=" ".join)
def test_a_reader_does_not_upgrade_an_older_database(
    empty_database, data_dir, tmp_path, monkeypatch, arguments, capsys
):
    monkeypatch.setattr(revisions, "MIGRATIONS", write_later_migrations(tmp_path / "later", *columns(["one"])))
    for _ in range(2):
        printed = run_reader(arguments, capsys)
        assert "was made by an older genremill" in printed
        assert "`genremill db upgrade`, or the next run" in printed
        assert printed.count("\n") == 1
