"""From pending tracks to jobs on the queue, and from folders to there."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from db.parts import Part
from producer.dispatch import MAX_FAST_TRACKS, choose_queue, dispatch
from producer.enqueue import HEAD_START_FILES, HeadStart, enqueue
from producer.messages import read_job_ids
from producer.order import Order
from producer.scan import Scan
from settings import GenremillError
from tests.integration.rows import counts, plan, put_tracks, rows
from worker.models.checkpoints import find_checkpoint

FILES = 5 * MAX_FAST_TRACKS


@pytest.fixture
def library(tmp_path):
    for index in range(FILES):
        (tmp_path / f"{index:04}.mp3").write_bytes(b"%04d" % index * 100)
    return tmp_path


def order(library, **options) -> Order:
    return Order((library,), find_checkpoint("musicnn"), "regions", job_tracks=10, **options)


def test_a_first_scan_is_queued_while_it_goes_on(database, broker, library):
    queued = []

    def scanned(scan):
        queued.append((scan.seen, rows(database, "SELECT count(*) FROM prediction WHERE status = 'queued'")[0][0]))

    run_id = enqueue(database, order(library), scanned)
    assert queued[0][1] == 0
    assert 0 < queued[-1][1] < FILES
    assert counts(database, run_id) == {"found": FILES, "queued": FILES}
    assert rows(database, "SELECT count(*), count(DISTINCT track_id) FROM prediction") == [(FILES, FILES)]
    assert len(read_job_ids()) == rows(database, "SELECT count(*) FROM job")[0][0]
    assert 0 < broker.llen("fast") < broker.llen("bulk")  # somebody waits for the first ones


def test_what_is_done_before_the_scan_ends_stays_in_the_run(database, broker, library):
    def scanned(_):
        """The workers are so fast that nothing is open when the next files are found."""
        with database.write() as connection:
            connection.exec_driver_sql("UPDATE prediction SET status = 'done'")
            connection.exec_driver_sql("UPDATE run SET finished_at = started_at")

    run_id = enqueue(database, order(library), scanned)
    assert rows(database, "SELECT count(*) FROM run") == [(1,)]
    found = counts(database, run_id)
    assert found["found"] == FILES == found["done"] + found["queued"]
    assert found["queued"] > 0


def test_a_later_scan_is_queued_when_it_has_ended(database, broker, library):
    enqueue(database, order(library))
    for index in range(FILES):
        (library / f"new {index:04}.mp3").write_bytes(b"%05d" % index * 100)
    queued = []
    enqueue(database, order(library), lambda _: queued.append(len(read_job_ids())))
    assert set(queued) == {queued[0]}
    assert len(read_job_ids()) > queued[0]


def test_a_small_order_goes_to_the_fast_queue(database, broker, tmp_path):
    (tmp_path / "one.mp3").write_bytes(b"x" * 100)
    enqueue(database, order(tmp_path))
    assert (broker.llen("fast"), broker.llen("bulk")) == (1, 0)


@pytest.mark.parametrize("followed", [True, False])
def test_a_broker_that_dies_does_not_end_a_first_scan(database, broker, library, processes, followed):
    for extra in sorted(library.iterdir())[HEAD_START_FILES + 8 :]:
        extra.unlink()
    processes[-1].kill()
    processes[-1].wait()
    if followed:
        run_id = enqueue(database, order(library), followed=True)
    else:
        with pytest.raises(GenremillError, match="GENREMILL_BROKER_URL"):
            enqueue(database, order(library))
        run_id = 1
    assert counts(database, run_id) == {"found": HEAD_START_FILES + 8, "queued": HEAD_START_FILES + 8}


@pytest.mark.parametrize("followed", [True, False])
def test_a_first_scan_fills_the_queue_while_it_goes_on(database, broker, library, followed):
    """All messages are gone when the scan has found one more file."""
    library_id = put_tracks(database, list(range(HEAD_START_FILES)))
    head_start = HeadStart(database, order(library), [Part(library_id)], followed=followed)
    head_start.update(Scan(Part(library_id), seen=HEAD_START_FILES))
    sent = read_job_ids()
    assert len(sent) == 2
    broker.flushall()
    head_start.update(Scan(Part(library_id), seen=HEAD_START_FILES + 1))
    assert read_job_ids() == (sent if followed else set())
    broker.flushall()
    head_start.update(Scan(Part(library_id), seen=HEAD_START_FILES + 2))
    assert read_job_ids() == set()  # So soon nobody looks again.


def test_the_queue_is_the_one_that_was_asked_for_or_suits_the_number_of_tracks(tmp_path):
    assert choose_queue(order(tmp_path), MAX_FAST_TRACKS) == "fast"
    assert choose_queue(order(tmp_path), MAX_FAST_TRACKS + 1) == "bulk"
    assert choose_queue(order(tmp_path, queue="bulk"), 1) == "bulk"
    assert choose_queue(order(tmp_path, queue="fast"), 1_000_000) == "fast"


def planned(database, count: int) -> int:
    """A run of so many tracks."""
    return plan(database, put_tracks(database, list(range(count))))


@pytest.mark.parametrize("page_tracks", [3, 4, 7, 8, 100])
def test_all_pending_tracks_are_put_into_jobs_page_by_page(database, broker, tmp_path, page_tracks):
    run_id = planned(database, 7)
    count = -(-7 // page_tracks)
    assert dispatch(database, run_id, order(tmp_path), page_tracks=page_tracks) == count
    assert counts(database, run_id) == {"found": 7, "queued": 7}
    assert rows(database, "SELECT count(*), sum(tracks), max(run_id) FROM job") == [(count, 7, run_id)]
    assert read_job_ids() == {row[0] for row in rows(database, "SELECT id FROM job")}
    assert dispatch(database, run_id, order(tmp_path)) == 0
    assert len(read_job_ids()) == count


def test_producers_that_queue_at_once_put_each_track_into_one_job(database, broker, tmp_path):
    run_id = planned(database, 100)
    with ThreadPoolExecutor(3) as pool:
        made = list(pool.map(lambda _: dispatch(database, run_id, order(tmp_path), page_tracks=7), range(3)))
    assert counts(database, run_id) == {"found": 100, "queued": 100}
    assert rows(database, "SELECT count(*), sum(tracks) FROM job") == [(sum(made), 100)]
    assert rows(database, "SELECT count(DISTINCT job_id) FROM prediction") == [(sum(made),)]


def test_all_pages_of_a_large_order_go_into_one_queue(database, broker, tmp_path):
    """Also the last page, which has few tracks."""
    dispatch(database, planned(database, 205), order(tmp_path), page_tracks=200)
    assert rows(database, "SELECT DISTINCT queue FROM job") == [("bulk",)]
    assert broker.llen("fast") == 0


def test_jobs_have_the_size_the_cost_and_the_queue_that_were_asked_for(database, broker, tmp_path):
    run_id = planned(database, 40)
    assert dispatch(database, run_id, order(tmp_path), queue="fast", min_jobs=2) == 4
    assert rows(database, "SELECT DISTINCT tracks, round(audio_s), queue, status FROM job") == [
        (10, 392.0, "fast", "queued")
    ]


def test_a_page_of_a_large_order_is_not_shared_out(database, broker, tmp_path):
    """There are more pages, and so jobs enough. The last page is divided into smaller jobs."""
    large = replace(order(tmp_path), job_tracks=60)
    assert dispatch(database, planned(database, 160), large, min_jobs=2, page_tracks=100) == 4
    assert rows(database, "SELECT tracks FROM job ORDER BY id") == [(60,), (40,), (30,), (30,)]


def count_queued_while_scanning(database, tmp_path, *sizes: int) -> list[int]:
    """Enqueue folders with so many files. The tracks that are in jobs whenever a transaction of the scan ends."""
    roots = []
    for number, size in enumerate(sizes):
        (tmp_path / str(number)).mkdir()
        for index in range(size):
            (tmp_path / str(number) / f"{index:02}.mp3").write_bytes(b"%d %d" % (number, index) * 20)
        roots.append(tmp_path / str(number))
    queued = []

    def on_progress(_scan):
        queued.append(rows(database, "SELECT count(*) FROM prediction WHERE status = 'queued'")[0][0])

    enqueue(database, Order(tuple(roots), find_checkpoint("musicnn"), "regions"), on_progress)
    assert rows(database, "SELECT count(*) FROM prediction WHERE NOT status = 'queued'") == [(0,)]
    return queued


@pytest.mark.parametrize(
    ("sizes", "queued"),
    [
        ((HEAD_START_FILES, 1), [0, HEAD_START_FILES]),
        ((HEAD_START_FILES - 1, 1, 1), [0, 0, HEAD_START_FILES]),
        ((HEAD_START_FILES, 15, 1, 1), [0, 16, 16, 32]),
        ((HEAD_START_FILES, 16, 1), [0, 16, 32]),
    ],
)
def test_a_first_scan_queues_when_its_files_have_doubled(database, broker, tmp_path, sizes, queued):
    assert count_queued_while_scanning(database, tmp_path, *sizes) == queued


def test_a_folder_that_is_not_there_is_not_enqueued(database, tmp_path):
    with pytest.raises(FileNotFoundError):
        enqueue(database, order(tmp_path / "none"))
    assert rows(database, "SELECT count(*) FROM run") == [(0,)]


def test_a_plan_that_finds_all_done_closes_its_run(database, broker, tmp_path):
    (tmp_path / "one.mp3").write_bytes(b"x" * 100)
    first = enqueue(database, order(tmp_path))
    with database.write() as connection:
        connection.exec_driver_sql("UPDATE prediction SET status = 'done'")
        connection.exec_driver_sql("UPDATE run SET finished_at = started_at")
    again = enqueue(database, order(tmp_path))
    assert again != first
    assert rows(database, "SELECT count(*) FROM run WHERE finished_at IS NULL") == [(0,)]


def test_a_copy_of_what_is_analysed_is_done_with_the_plan(database, broker, tmp_path):
    (tmp_path / "one.mp3").write_bytes(b"x" * 100)
    enqueue(database, order(tmp_path))
    with database.write() as connection:
        connection.exec_driver_sql("UPDATE prediction SET status = 'done'")
        connection.exec_driver_sql("UPDATE run SET finished_at = started_at")
    (tmp_path / "two.mp3").write_bytes(b"x" * 100)
    again = enqueue(database, order(tmp_path))
    assert counts(database, again) == {"found": 2, "skipped": 1, "duplicate": 1}
    assert rows(database, "SELECT count(*) FROM run WHERE finished_at IS NULL") == [(0,)]


def test_what_is_retried_is_queued_again(database, broker, tmp_path):
    (tmp_path / "one.mp3").write_bytes(b"x" * 100)
    enqueue(database, order(tmp_path))
    with database.write() as connection:
        connection.exec_driver_sql("UPDATE prediction SET status = 'failed'")
        connection.exec_driver_sql("UPDATE run SET finished_at = started_at")
    assert counts(database, enqueue(database, order(tmp_path))) == {"found": 1, "skipped": 1}
    assert counts(database, enqueue(database, order(tmp_path, retry=True))) == {"found": 1, "queued": 1}
