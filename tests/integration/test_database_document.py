"""docs/database.md: its queries run and give rows, and it names every column there is."""

import re
from dataclasses import replace

import pytest
from sqlalchemy import inspect, text
from sqlalchemy.exc import DBAPIError

from db.tables import JobStatus, PredictionStatus
from tests.integration.rows import (
    GENRES,
    analyse,
    claim,
    find_duplicates,
    finish,
    mark_duplicates,
    outcomes,
    plan,
    put_job,
    put_tracks,
    record,
)
from tests.support.paths import ROOT

DOCUMENT = (ROOT / "docs" / "database.md").read_text()
QUERIES = re.findall(r"^```sql\n(.*?)^```", DOCUMENT, re.DOTALL | re.MULTILINE)
SECTIONS = dict(re.findall(r"^## `(\w+)`\n(.*?)(?=^## )", DOCUMENT, re.DOTALL | re.MULTILINE))
NAMES = {"sqlite": "SQLite", "postgresql": "PostgreSQL"}
OTHER_GENRES = (("jazz", "genre"), ("rock", "genre"), ("happy", "mood"))
TAGS = """
    UPDATE track SET path = 'A/' || path, artist = 'Björk', album_artist = 'Björk', album = 'Debut', year = 1993,
           tagged_genre = 'Pop'
"""


@pytest.fixture
def filled(database):
    """A database with something of everything: two analyses, embeddings, failures, duplicates, a job that runs."""
    music = put_tracks(database, ["a", "a", "b"])
    with database.write() as connection:
        connection.execute(text(TAGS))
    analyse_otherwise(database, plan(database, music, coverage="full", model="musicnn"), genres=OTHER_GENRES)
    run_id = plan(database, music, model="musicnn")
    mark_duplicates(database, run_id, find_duplicates(database, run_id))
    analyse_otherwise(database, run_id, embedding=b"\0\0")
    analyse(database, plan(database, put_tracks(database, ["c"], b"/broken")), error="undecodable")
    assert claim(database, put_job(database, plan(database, put_tracks(database, ["d"], b"/new"))))
    return database


def analyse_otherwise(database, run_id: int, genres=GENRES, embedding: bytes | None = None) -> None:
    """Do all that is pending in the run, with these genres in the order of their probabilities."""
    job = claim(database, put_job(database, run_id))
    record(database, [replace(outcome, embedding=embedding) for outcome in outcomes(database, job, genres=genres)])
    finish(database, job)


def read_name(database) -> str:
    """What the document calls this kind of database."""
    with database.read() as connection:
        return NAMES[connection.dialect.name]


def explain_columns(database) -> dict[str, list[tuple[str, str]]]:
    """The columns that the document explains of the tables and views of this kind of database, with their types."""
    (other,) = set(NAMES.values()) - {read_name(database)}
    sections = {name: section for name, section in SECTIONS.items() if f"Only {other} has this" not in section}
    rows = {
        name: re.findall(r"^\| `(\w+)` \| ([\w/]+\??) \| (.*) \|$", section, re.MULTILINE)
        for name, section in sections.items()
    }
    return {
        name: [(column, type_) for column, type_, meaning in columns if not meaning.startswith(f"only in {other}")]
        for name, columns in rows.items()
    }


@pytest.mark.parametrize("query", QUERIES)
def test_each_query_gives_rows_in_the_databases_that_it_is_for(filled, query):
    only = re.match(r"-- only (\w+)\n", query)
    with filled.read() as connection:
        if only is None or only[1] == read_name(filled):
            assert connection.execute(text(query)).all()
        else:
            with pytest.raises(DBAPIError):
                connection.execute(text(query))


def test_there_is_a_query_for_each_table_and_view():
    assert [name for name, section in SECTIONS.items() if "```sql" not in section] == []


def test_each_column_of_each_table_and_view_is_explained_in_its_order(database):
    with database.read() as connection:
        inspector = inspect(connection)
        names = {*inspector.get_table_names(), *inspector.get_view_names()} - {"alembic_version"}
        columns = {name: [column["name"] for column in inspector.get_columns(name)] for name in names}
    explained = {name: [column for column, _ in rows] for name, rows in explain_columns(database).items()}
    assert explained == columns


def test_each_column_says_rightly_whether_it_may_be_null(database):
    explained = explain_columns(database)
    with database.read() as connection:
        inspector = inspect(connection)
        for name in set(inspector.get_table_names()) - {"alembic_version"}:
            nullable = {column["name"] for column in inspector.get_columns(name) if column["nullable"]}
            assert {column for column, type_ in explained[name] if type_.endswith("?")} == nullable, name


def test_each_index_is_named(database):
    _, _, section = DOCUMENT.partition("## Large collections\n")
    rows = re.findall(r"^\| `(\w+)` \| (.*) \|$", section.partition("\n## ")[0], re.MULTILINE)
    explained = {name: {tuple(columns.split(", ")) for columns in re.findall("`(.*?)`", cell)} for name, cell in rows}
    with database.read() as connection:
        inspector = inspect(connection)
        found = {
            name: {tuple(index["column_names"]) for index in inspector.get_indexes(name)}
            | {tuple(constraint["column_names"]) for constraint in inspector.get_unique_constraints(name)}
            for name in set(inspector.get_table_names()) - {"alembic_version"}
        }
    assert explained == {name: indexes for name, indexes in found.items() if indexes}


@pytest.mark.parametrize(
    ("heading", "statuses"), [("The states of a prediction", PredictionStatus), ("The states of a job", JobStatus)]
)
def test_each_state_is_explained(heading, statuses):
    _, _, section = DOCUMENT.partition(f"## {heading}\n")
    table = section.partition("```")[0]
    assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) == [status.value for status in statuses]
