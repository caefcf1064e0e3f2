"""`genremill run` on the sample library: the main job, end to end, with every real part."""

import os
import shutil
import threading
import time
import urllib.request
from pathlib import Path

import numpy as np
import psutil
import pytest
import soundfile

from tests.acceptance.person import Person
from tests.conftest import wait_until
from tests.support.paths import DATA

MEMORY_LIMIT_BYTES = 1.5e9
REFERENCE = DATA / "musicnn_reference.npz"


@pytest.fixture(scope="module")
def newcomer(tmp_path_factory):
    return Person(tmp_path_factory.mktemp("newcomer"), {})


@pytest.fixture(scope="module")
def first_run(newcomer, library):
    """The first run: its JSON, the most memory of all its processes, and whether Flower answered."""
    process = newcomer.start("run", str(library), "--json")
    peak, flower = [0], []
    watch = threading.Thread(target=_watch, args=(process, peak, flower))
    watch.start()
    out, err = process.communicate(timeout=100)
    watch.join()
    assert process.returncode == 0, err
    import json

    return json.loads(out), peak[0], flower


def _watch(process, peak, flower):
    while process.poll() is None:
        peak[0] = max(peak[0], _memory(process.pid))
        if not flower:
            try:
                with urllib.request.urlopen("http://127.0.0.1:5991/", timeout=1) as page:
                    flower.append(page.read().decode())
            except OSError:
                pass
        time.sleep(0.1)


def _memory(pid) -> int:
    """Resident bytes of a process and all below it; what several share is counted once for each."""
    total = 0
    try:
        family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    except psutil.Error:
        return 0
    for process in family:
        try:
            total += process.memory_info().rss
        except psutil.Error:
            continue
    return total


def test_every_track_is_accounted_for(first_run):
    counts = first_run[0]["run"]["counts"]
    assert counts["found"] == 30
    assert (counts["done"], counts["duplicate"], counts["failed"]) == (27, 1, 2)
    assert counts["found"] == sum(value for name, value in counts.items() if name != "found")


def test_every_genres_probability_is_stored(first_run, newcomer):
    rows = newcomer.queries("SELECT count(*), min(probability), max(probability) FROM score GROUP BY track_id")
    assert len(rows) == 27
    assert all(count == 50 and 0 <= least < most <= 1 for count, least, most in rows)


def test_the_view_gives_each_track_its_first_genre(first_run, newcomer, library):
    rows = newcomer.queries("SELECT path, genre FROM track_genre WHERE rank = 1")
    assert len({path for path, _ in rows}) == len(rows) == 28
    assert all(Path(path).is_file() for path, _ in rows)
    assert len({genre for _, genre in rows}) >= 6


def test_the_broken_files_are_named(first_run, newcomer):
    errors = newcomer.reads("errors")
    assert sorted((Path(error["path"]).name, error["code"]) for error in errors) == [
        ("download.mp3", "undecodable"),
        ("unfinished.flac", "undecodable"),
    ]
    assert all(Path(error["path"]).name in error["detail"] for error in errors)


def test_flower_was_up(first_run):
    assert "Flower" in first_run[2][0]


def test_memory_of_all_processes(first_run):
    assert 0 < first_run[1] < MEMORY_LIMIT_BYTES


def test_the_second_run_analyses_nothing_and_says_so(first_run, newcomer, library):
    before = newcomer.queries("SELECT track_id, finished_at FROM prediction ORDER BY 1")
    assert "Nothing new" in newcomer.types("run", str(library))
    assert newcomer.queries("SELECT track_id, finished_at FROM prediction ORDER BY 1") == before


def test_the_reading_commands(first_run, newcomer):
    assert newcomer.reads("status")[-1]["counts"] == first_run[0]["run"]["counts"]
    genres = newcomer.reads("genres")
    assert sum(row["tracks"] for row in genres) == 28
    assert newcomer.types("results", "--format", "csv", "--limit", "5").count("\n") == 6
    assert "electronic" in newcomer.types("results", "--genre", "Electronic", "--min", "0.3")
    assert "musicnn" in newcomer.types("status")
    assert newcomer.reads("doctor")[0]["ok"]
    assert "tracks" in newcomer.types("genres")


def test_scores_are_the_originals_from_audio(tmp_path):
    """From a file to the database, against the unmodified original under TensorFlow 1.14."""
    reference = np.load(REFERENCE)
    names = [str(name) for name in reference["names"]]
    root = tmp_path / "reference"
    root.mkdir()
    sources = [name.removeprefix("audio_") for name in reference.files if name.startswith("audio_")]
    for source in sources:
        soundfile.write(root / f"{source}.wav", reference[f"audio_{source}"], 16_000)
    person = Person(tmp_path, {})
    assert person.counts(str(root))["done"] == len(sources) == 4
    for source in sources:
        found = dict(person.queries(f"SELECT genre, probability FROM track_tag WHERE path LIKE '%/{source}.wav'"))
        expected = dict(
            zip(map(str, reference["tags"]), reference["probabilities"][names.index(f"{source}:0")], strict=True)
        )
        assert found.keys() == expected.keys()
        assert max(abs(found[tag] - expected[tag]) for tag in expected) < 5e-3


def test_bad_input_costs_itself_alone(tmp_path, library):
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
    counts = person.counts(str(root))
    assert (counts["found"], counts["done"], counts["duplicate"], counts["failed"]) == (6, 2, 1, 3)
    codes = {Path(error["path"]).name: error["code"] for error in person.reads("errors")}
    assert codes == {"empty.mp3": "empty", "text.mp3": "undecodable", "silence.flac": "silent"}
    shutil.copy(good, root / "text.mp3")  # a broken file is replaced: it is analysed again by itself
    again = person.counts(str(root))
    assert (again["found"], again["skipped"], again["duplicate"]) == (6, 5, 1)


@pytest.mark.parametrize(
    ("words", "settings", "says"),
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
def test_what_a_person_can_put_right_is_one_line(tmp_path, words, settings, says):
    printed = Person(tmp_path, settings).types(*words, code=2)
    lines = [line for line in printed.splitlines() if not line.startswith(("Flower: ", "scanning"))]
    assert len(lines) == 1, printed
    assert says in lines[0]


def test_two_runs_do_not_share_a_data_folder(tmp_path, library):
    person = Person(tmp_path, {})
    process = person.start("run", str(library), "--stay")
    try:
        wait_until(lambda: (tmp_path / "data" / "redis.sock").exists())
        assert "another `genremill run`" in person.types("run", str(library), code=2)
    finally:
        process.terminate()
        process.communicate(timeout=30)
