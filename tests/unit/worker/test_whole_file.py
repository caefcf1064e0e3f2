"""A file appears whole or not at all."""

import pytest

from worker.whole_file import whole_file


def test_a_file_keeps_its_content_when_writing_it_anew_fails(tmp_path):
    path = tmp_path / "a"
    path.write_text("old")

    def fail_half_way() -> None:
        with whole_file(path) as unfinished:
            unfinished.write_text("new")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_half_way()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_has_its_name_only_when_it_is_whole(tmp_path):
    with whole_file(tmp_path / "folder" / "a") as unfinished:
        unfinished.write_text("new")
        assert not (tmp_path / "folder" / "a").exists()
    assert (tmp_path / "folder" / "a").read_text() == "new"
