"""From folders to jobs on the queue."""

import pytest

from producer.dispatch import FAST_TRACKS
from producer.enqueue import HEAD_START_FILES, enqueue
from producer.order import Order
from producer.reconcile import messages
from settings import GenremillError
from tests.integration.rows import counts, rows
from worker.models.checkpoints import find_checkpoint

FILES = 5 * FAST_TRACKS


@pytest.fixture
def library(tmp_path):
    for index in range(FILES):
        (tmp_path / f"{index:04}.mp3").write_bytes(b"%04d" % index * 100)
    return tmp_path


def order(library, **options) -> Order:
    return Order((library,), find_checkpoint("musicnn"), "regions", most_tracks=10, **options)


def test_a_first_scan_is_queued_while_it_goes_on(database, broker, library):
    queued = []

    def scanned(scan):
        queued.append((scan.seen, rows(database, "SELECT count(*) FROM prediction WHERE status = 'queued'")[0][0]))

    run_id = enqueue(database, order(library), scanned)
    assert queued[0][1] == 0
    assert 0 < queued[-1][1] < FILES
    assert counts(database, run_id) == {"found": FILES, "queued": FILES}
    assert rows(database, "SELECT count(*), count(DISTINCT track_id) FROM prediction") == [(FILES, FILES)]
    assert len(messages()) == rows(database, "SELECT count(*) FROM job")[0][0]
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
    enqueue(database, order(library), lambda _: queued.append(len(messages())))
    assert set(queued) == {queued[0]}
    assert len(messages()) > queued[0]


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
