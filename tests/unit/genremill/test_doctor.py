"""What `genremill doctor` finds when everything is here, and when one thing is missing."""

import json
import os
import subprocess
import sys
from contextlib import closing

import pytest
from typer.testing import CliRunner

import settings
from db import revisions
from db.session import connect
from genremill.cli import app
from genremill.doctor import check_requirements
from settings import Settings
from tests.support.later_migrations import columns, write_later_migrations
from tests.support.paths import ROOT

NAMES = ["Python", "data folder", "database", "broker", "model", "device", "cores", "decoders"]


@pytest.fixture
def examine(tmp_path, monkeypatch):
    """What doctor finds with settings; those that are not named let everything be here."""

    def examine_with(**values):
        for name, value in {"data_dir": tmp_path / "data", "device": "cpu", "cores": 1, **values}.items():
            monkeypatch.setenv(f"GENREMILL_{name.upper()}", str(value))
        settings.load.cache_clear()
        findings = check_requirements(settings.load())
        assert [finding.what for finding in findings] == NAMES
        return {finding.what: finding for finding in findings}

    yield examine_with
    settings.load.cache_clear()


def test_a_fresh_machine_has_everything(examine, tmp_path):
    findings = examine()
    assert all(finding.ok for finding in findings.values())
    assert findings["data folder"].detail.startswith(f"{tmp_path / 'data'}, made by the first run, ")
    assert findings["data folder"].detail.endswith(" GiB free")
    assert findings["database"].detail == f"sqlite:///{tmp_path / 'data' / 'genremill.db'}, made by the first run"
    assert findings["broker"].detail.startswith("private Redis, ")
    assert findings["model"].detail.startswith("musicnn, weights ")
    assert findings["device"].detail.startswith("cpu@")
    assert findings["cores"].detail == "1"
    assert "PyAV" in findings["decoders"].detail


def test_nothing_is_made(examine, tmp_path):
    examine()
    assert not (tmp_path / "data").exists()


def test_what_a_run_has_made_is_found(examine, tmp_path):
    (tmp_path / "data").mkdir()
    url = f"sqlite:///{tmp_path / 'data' / 'genremill.db'}"
    connect(url).close()
    findings = examine()
    assert findings["database"].detail == url
    assert "first run" not in findings["data folder"].detail


def test_an_older_database_is_enough_for_a_run_and_stays_as_it_is(examine, tmp_path, monkeypatch):
    url = f"sqlite:///{tmp_path / 'genremill.db'}"
    connect(url).close()
    monkeypatch.setattr(revisions, "MIGRATIONS", write_later_migrations(tmp_path / "later", *columns(["one"])))
    for _ in range(2):
        finding = examine(database_url=url)["database"]
        assert finding.ok
        assert "`genremill db upgrade`" in finding.detail


def test_a_newer_database_is_missing(examine, tmp_path):
    url = f"sqlite:///{tmp_path / 'genremill.db'}"
    with closing(connect(url)) as database, database.write() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    finding = examine(database_url=url)["database"]
    assert not finding.ok
    assert "newer genremill" in finding.detail


def test_a_database_that_could_not_be_made_is_missing(examine, tmp_path):
    (tmp_path / "file").touch()
    finding = examine(database_url=f"sqlite:///{tmp_path / 'file' / 'genremill.db'}")["database"]
    assert not finding.ok
    assert "GENREMILL_DATABASE_URL" in finding.detail


@pytest.mark.parametrize(
    ("values", "what", "detail"),
    [
        ({"database_url": "mysql://x/y"}, "database", "GENREMILL_DATABASE_URL"),
        ({"model": "vit_b_16_mel"}, "model", "genremill models fetch vit_b_16_mel"),
        ({"model": "musicn"}, "model", "musicn"),
        ({"device": "cuda:7"}, "device", "cuda:7"),
    ],
)
def test_what_is_missing_is_found_alone_and_says_how_to_get_it(examine, values, what, detail):
    findings = examine(**values)
    assert [name for name, finding in findings.items() if not finding.ok] == [what]
    assert detail in findings[what].detail


def test_a_data_folder_that_cannot_be_made_is_missing(examine, tmp_path):
    (tmp_path / "file").touch()
    findings = examine(data_dir=tmp_path / "file" / "data")
    assert not findings["data folder"].ok
    assert str(tmp_path / "file") in findings["data folder"].detail


def find_broker(broker_url: str, tmp_path) -> dict:
    """What `genremill doctor` finds of a broker. It runs as a process, because Celery reads its settings only once."""
    variables = {"GENREMILL_BROKER_URL": broker_url, "GENREMILL_DATA_DIR": str(tmp_path / "data")}
    process = subprocess.run(
        [sys.executable, "-m", "genremill", "doctor", "--json"],
        env={**os.environ, "PYTHONPATH": str(ROOT), **variables},
        capture_output=True,
    )
    return next(finding for finding in json.loads(process.stdout) if finding["what"] == "broker")


def test_a_broker_that_answers_is_found(redis_url, tmp_path):
    finding = find_broker(redis_url, tmp_path)
    assert (finding["ok"], finding["detail"]) == (True, "reached, at GENREMILL_BROKER_URL")


def test_a_broker_that_does_not_answer_is_missing(tmp_path):
    finding = find_broker("redis://127.0.0.1:1/0", tmp_path)
    assert not finding["ok"]
    assert "127.0.0.1:1/0 cannot be reached" in finding["detail"]


def test_the_command_exits_with_1_when_something_is_missing(data_dir, monkeypatch):
    assert CliRunner().invoke(app, ["doctor"]).exit_code == 0
    assert not data_dir.exists()
    monkeypatch.setenv("GENREMILL_MODEL", "vit_b_16_mel")
    settings.load.cache_clear()
    table = CliRunner().invoke(app, ["doctor"])
    assert table.exit_code == 1
    assert "MISSING  model" in table.stdout
    findings = CliRunner().invoke(app, ["doctor", "--json"])
    assert findings.exit_code == 1
    assert [row["what"] for row in json.loads(findings.stdout) if not row["ok"]] == ["model"]


def test_settings_are_not_needed_from_the_environment(tmp_path):
    findings = check_requirements(Settings(data_dir=tmp_path, device="cpu"))
    assert [finding.what for finding in findings] == NAMES
