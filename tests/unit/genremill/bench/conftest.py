"""What the tests of `genremill bench` share."""

import pytest

from genremill.sample.long_track import write_long_track


@pytest.fixture(scope="session")
def tracks(tmp_path_factory):
    """A track that has three regions for musicnn, and one that is shorter than that."""
    folder = tmp_path_factory.mktemp("bench")
    paths = [folder / "long.flac", folder / "short.mp3"]
    for seed, (path, seconds) in enumerate(zip(paths, (36, 7), strict=True)):
        write_long_track(path, seed, seconds)
    return paths
