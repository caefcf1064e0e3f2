"""`genremill run`, from files to the database and to what is printed, with every real part."""

import json
import os
import shutil
import subprocess
import threading
import time
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psutil
import pytest
import soundfile

from tests.acceptance.person import FLOWER_PORT, Person
from tests.conftest import wait_until
from tests.support.paths import DATA

MEMORY_LIMIT_BYTES = 1.5e9
REFERENCE = DATA / "musicnn_reference.npz"  # Audio, and what the original musicnn under TensorFlow 1.14 makes of it.


@dataclass
class FirstRun:
    """What was seen of the first run on the sample library."""

    report: dict = field(default_factory=dict)  # What it printed as JSON.
    peak_bytes: int = 0  # The most memory that all its processes had together.
    flower_page: str = ""  # The first page that Flower gave.


@pytest.fixture(scope="module")
def newcomer(tmp_path_factory):
    return Person(tmp_path_factory.mktemp("newcomer"), {})


@pytest.fixture(scope="module")
def first_run(newcomer, library):
    process = newcomer.start("run", str(library), "--json")
    seen = FirstRun()
    watcher = threading.Thread(target=watch, args=(process, seen))
    watcher.start()
    out, err = process.communicate(timeout=100)
    watcher.join()
    assert process.returncode == 0, err
    seen.report = json.loads(out)
    return seen


def watch(process: subprocess.Popen, seen: FirstRun) -> None:
    """Look at a run's processes, and at Flower, until it ends."""
    while process.poll() is None:
        seen.peak_bytes = max(seen.peak_bytes, resident_bytes(process.pid))
        if not seen.flower_page:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{FLOWER_PORT}/", timeout=1) as page:
                    seen.flower_page = page.read().decode()
            except OSError:  # It does not answer yet.
                pass
        time.sleep(0.1)


def resident_bytes(pid: int) -> int:
    """Resident memory of a process and of all below it. What several share is counted for each of them."""
    total = 0
    try:
        family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    except psutil.Error:
        return 0
    for process in family:
        try:
            total += process.memory_info().rss
        except psutil.Error:  # It has ended in the meantime.
            continue
    return total


def test_every_track_is_accounted_for(first_run):
    counts = first_run.report["run"]["counts"]
    assert counts["found"] == 30
    assert (counts["done"], counts["duplicate"], counts["failed"]) == (27, 1, 2)
    assert counts["found"] == sum(value for name, value in counts.items() if name != "found")


def test_the_probability_of_every_genre_is_stored(first_run, newcomer):
    rows = newcomer.query("SELECT count(*), min(probability), max(probability) FROM score GROUP BY track_id")
    assert len(rows) == 28  # The duplicate has scores, too.
    assert all(count == 50 and 0 <= lowest < highest <= 1 for count, lowest, highest in rows)


def test_the_view_gives_each_track_its_first_genre(first_run, newcomer, library):
    rows = newcomer.query("SELECT path, genre FROM track_genre WHERE rank = 1")
    assert len({path for path, _ in rows}) == len(rows) == 28
    assert all(Path(path).is_file() for path, _ in rows)
    assert len({genre for _, genre in rows}) >= 6


def test_the_broken_files_are_named(first_run, newcomer):
    errors = newcomer.read_json("errors")
    assert sorted((Path(error["path"]).name, error["code"]) for error in errors) == [
        ("download.mp3", "undecodable"),
        ("unfinished.flac", "undecodable"),
    ]
    assert all(Path(error["path"]).name in error["detail"] for error in errors)


def test_flower_answers_during_a_run(first_run):
    assert "Flower" in first_run.flower_page


def test_the_memory_of_all_processes_stays_below_the_limit(first_run):
    assert 0 < first_run.peak_bytes < MEMORY_LIMIT_BYTES


def test_the_second_run_analyses_nothing_and_says_so(first_run, newcomer, library):
    before = newcomer.query("SELECT track_id, finished_at FROM prediction ORDER BY 1")
    assert "Nothing new" in newcomer.run("run", str(library))
    assert newcomer.query("SELECT track_id, finished_at FROM prediction ORDER BY 1") == before


def test_the_reports_agree_with_the_run(first_run, newcomer):
    assert newcomer.read_json("status")[-1]["counts"] == first_run.report["run"]["counts"]
    genres = newcomer.read_json("genres")
    assert sum(row["tracks"] for row in genres) == 28
    assert newcomer.run("results", "--format", "csv", "--limit", "5").count("\n") == 6
    assert "Electronic in " in newcomer.run("results", "--genre", "Electronic", "--min", "0.3")
    assert "musicnn" in newcomer.run("status")
    assert newcomer.read_json("doctor")[0]["ok"]
    assert "tracks" in newcomer.run("genres")


def test_the_probabilities_in_the_database_are_those_of_the_original_musicnn(tmp_path):
    reference = np.load(REFERENCE)
    names = [str(name) for name in reference["names"]]
    root = tmp_path / "reference"
    root.mkdir()
    sources = [name.removeprefix("audio_") for name in reference.files if name.startswith("audio_")]
    for source in sources:
        soundfile.write(root / f"{source}.wav", reference[f"audio_{source}"], 16_000)
    person = Person(tmp_path, {})
    assert person.analyse(str(root))["done"] == len(sources) == 4
    for source in sources:
        found = dict(person.query(f"SELECT genre, probability FROM track_tag WHERE path LIKE '%/{source}.wav'"))
        expected = dict(
            zip(map(str, reference["tags"]), reference["probabilities"][names.index(f"{source}:0")], strict=True)
        )
        assert found.keys() == expected.keys()
        assert max(abs(found[tag] - expected[tag]) for tag in expected) < 5e-3


def test_a_bad_file_costs_itself_alone(tmp_path, library):
    root = tmp_path / "music"
    root.mkdir()
    good = next(library.rglob("*.ogg"))
    shutil.copy(good, root / "good.ogg")
    (root / "empty.mp3").touch()
    (root / "text.mp3").write_text("this is not music\n" * 500)
    soundfile.write(root / "silence.flac", np.zeros(160_000, np.int16), 16_000)
    soundfile.write(root / "short.wav", np.random.default_rng(0).normal(0, 0.1, 4_000), 16_000)
    shutil.copy(good, os.fsencode(root) + b"/caf\xe9 \\ [b]'\"%.ogg")
    person = Person(tmp_path, {})
    counts = person.analyse(str(root))
    assert (counts["found"], counts["done"], counts["duplicate"], counts["failed"]) == (6, 2, 1, 3)
    codes = {Path(error["path"]).name: error["code"] for error in person.read_json("errors")}
    assert codes == {"empty.mp3": "empty", "text.mp3": "undecodable", "silence.flac": "silent"}
    shutil.copy(good, root / "text.mp3")  # A broken file is replaced, so it is analysed without --retry.
    again = person.analyse(str(root))
    assert (again["found"], again["skipped"], again["duplicate"]) == (6, 5, 1)


@pytest.mark.parametrize(
    ("arguments", "settings", "message"),
    [
        (["run", "nowhere"], {}, "nowhere does not exist"),
        (["run", ".", "--model", "musicn"], {}, "choose from: musicnn"),
        (["run", ".", "--coverage", "half"], {}, "regions or full"),
        (["run", "."], {"GENREMILL_BROKER_URL": "redis://127.0.0.1:1/0"}, "GENREMILL_BROKER_URL"),
        (["enqueue", "."], {"GENREMILL_BROKER_URL": "redis://127.0.0.1:1/0"}, "GENREMILL_BROKER_URL"),
        (["worker"], {"GENREMILL_BROKER_URL": "redis://127.0.0.1:1/0"}, "GENREMILL_BROKER_URL"),
        (["enqueue", "."], {}, "GENREMILL_BROKER_URL"),
        (["status"], {"GENREMILL_DATABASE_URL": "postgresql://127.0.0.1:1/none"}, "GENREMILL_DATABASE_URL"),
        (["run", "."], {"GENREMILL_DATABASE_URL": "mysql://x/y"}, "GENREMILL_DATABASE_URL"),
        (["run", "."], {"GENREMILL_DATA_DIR": "/proc/none"}, "GENREMILL_DATA_DIR"),
        (["run", "."], {"GENREMILL_LEASE_S": "soon"}, "GENREMILL_LEASE_S"),
        (["run", "."], {"GENREMILL_DEVICE": "cuda:7"}, "cuda:7"),
    ],
)  # fmt: skip
def test_what_a_person_can_put_right_is_one_line(tmp_path, arguments, settings, message):
    printed = Person(tmp_path, settings).run(*arguments, code=2)
    lines = [line for line in printed.splitlines() if not line.startswith(("Flower: ", "scanning"))]
    assert len(lines) == 1, printed
    assert message in lines[0]


def test_two_runs_do_not_share_a_data_folder(tmp_path, library):
    person = Person(tmp_path, {})
    process = person.start("run", str(library), "--stay")
    try:
        wait_until(lambda: (tmp_path / "data" / "redis.sock").exists())
        assert "another `genremill run`" in person.run("run", str(library), code=2)
    finally:
        process.terminate()
        process.communicate(timeout=30)
