"""docs/database.md: its queries run and give rows, and it names every column there is."""

import re

import pytest
from sqlalchemy import inspect, text

from db import plans
from db.tables import JobStatus, PredictionStatus
from tests.integration.rows import analyse, claim, plan, put_job, put_tracks
from tests.support.paths import ROOT

DOCUMENT = (ROOT / "docs" / "database.md").read_text()
QUERIES = re.findall(r"^```sql\n(.*?)^```", DOCUMENT, re.DOTALL | re.MULTILINE)
SECTIONS = dict(re.findall(r"^## `(\w+)`\n(.*?)(?=^## )", DOCUMENT, re.DOTALL | re.MULTILINE))


@pytest.fixture
def filled(database):
    """A database that has something of everything: scores, failures, duplicates, and a job that is running."""
    run_id = plan(database, put_tracks(database, ["a", "a", "b"]), model="musicnn")
    with database.write() as connection:
        plans.mark_duplicates(connection, run_id, plans.find_duplicate_candidates(connection, run_id))
    analyse(database, run_id)
    analyse(database, plan(database, put_tracks(database, ["c"], b"/broken")), error="undecodable")
    assert claim(database, put_job(database, plan(database, put_tracks(database, ["d"], b"/new"))))
    return database


@pytest.mark.parametrize("query", QUERIES)
def test_each_query_gives_rows(filled, query):
    with filled.read() as connection:
        assert connection.execute(text(query)).all()


def test_there_is_a_query_for_each_table_and_view():
    assert [name for name, section in SECTIONS.items() if "```sql" not in section] == []


def test_each_column_of_each_table_and_view_is_explained_in_its_order(database):
    with database.read() as connection:
        inspector = inspect(connection)
        names = {*inspector.get_table_names(), *inspector.get_view_names()} - {"alembic_version"}
        columns = {name: [column["name"] for column in inspector.get_columns(name)] for name in names}
    explained = {
        name: re.findall(r"^\| `(\w+)` \| [\w/]+\?? \|", text, re.MULTILINE) for name, text in SECTIONS.items()
    }
    assert explained == columns


def test_each_column_says_rightly_whether_it_may_be_null(database):
    with database.read() as connection:
        inspector = inspect(connection)
        for name in inspector.get_table_names():
            nullable = {column["name"] for column in inspector.get_columns(name) if column["nullable"]}
            explained = re.findall(r"^\| `(\w+)` \| [\w/]+\? \|", SECTIONS.get(name, ""), re.MULTILINE)
            assert set(explained) == nullable, name


@pytest.mark.parametrize(
    ("heading", "statuses"), [("The states of a prediction", PredictionStatus), ("The states of a job", JobStatus)]
)
def test_each_state_is_explained(heading, statuses):
    _, _, section = DOCUMENT.partition(f"## {heading}\n")
    table = section.partition("```")[0]
    assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) == [status.value for status in statuses]
