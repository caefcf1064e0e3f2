"""Which folders an order has."""

import os

import pytest

from producer.order import Order, check_roots
from settings import GenremillError
from worker.models.checkpoints import find_checkpoint


@pytest.fixture
def folders(tmp_path):
    """A folder with the folders m, m/x, m/x/deep, m2 and M, and a file."""
    for name in ("m/x/deep", "m2", "M"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "m/file.mp3").touch()
    return tmp_path


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (["m"], ["m"]),
        (["m", "m2"], ["m", "m2"]),
        (["m2", "m"], ["m2", "m"]),
        (["m", "M"], ["m", "M"]),
        (["m", "m/x"], ["m"]),
        (["m/x", "m"], ["m"]),
        (["m/x/deep", "m", "m/x"], ["m"]),
        (["m/x/deep", "m/x", "m2"], ["m/x", "m2"]),
        (["m", "m"], ["m"]),
        (["m/x/../x", "m/x"], ["m/x"]),
        ([], []),
    ],
)
def test_each_folder_is_kept_once_unless_it_lies_in_another_one(folders, given, kept):
    assert check_roots(folders / name for name in given) == tuple(folders / name for name in kept)


def test_everything_lies_in_the_root_of_the_file_system(folders):
    root = folders.__class__("/")
    assert check_roots([folders / "m", root]) == (root,)


def test_a_link_is_the_folder_that_it_leads_to(folders):
    (folders / "link").symlink_to(folders / "m/x")
    assert check_roots([folders / "link"]) == (folders / "m/x",)
    assert check_roots([folders / "link", folders / "m"]) == (folders / "m",)
    assert check_roots([folders / "link", folders / "m2"]) == (folders / "m/x", folders / "m2")


def test_a_relative_folder_becomes_absolute(folders, monkeypatch):
    monkeypatch.chdir(folders)
    assert check_roots([folders.__class__("m2")]) == (folders / "m2",)


def test_names_need_not_be_utf_8(folders):
    folder = folders / os.fsdecode(b"caf\xe9")
    folder.mkdir()
    assert check_roots([folder, folders / "m"]) == (folder, folders / "m")


def test_what_is_not_there_and_what_is_a_file_are_refused(folders):
    with pytest.raises(GenremillError, match=r"none does not exist: give a folder of music"):
        check_roots([folders / "m", folders / "none"])
    with pytest.raises(GenremillError, match=r"file\.mp3 is not a folder: give the folder it is in"):
        check_roots([folders / "m/file.mp3"])


def test_an_order_is_for_jobs_of_64_tracks_in_whichever_queue_suits_without_what_failed():
    order = Order((), find_checkpoint("musicnn"), "regions")
    assert (order.exclude, order.job_tracks, order.queue, order.retry) == ((), 64, None, False)
