"""Long tracks."""

import numpy as np
import pytest

from genremill.sample.encode import SUFFIXES
from genremill.sample.long_track import write_long_track
from tests.unit.genremill.sample.reading import read_audio


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_long_track_has_its_length_and_never_repeats_itself(tmp_path, suffix):
    paths = [tmp_path / f"{seed}{suffix}" for seed in (1, 2)]
    for seed, path in enumerate(paths, 1):
        write_long_track(path, seed, seconds=33)
    (pcm, rate), (other, _) = map(read_audio, paths)
    assert (rate, pcm.shape[1]) == (44_100, 2)
    assert len(pcm) / rate == pytest.approx(33, abs=0.06)
    assert np.abs(pcm).max() <= 1.0
    minimum = min(len(pcm), len(other))
    assert np.abs(pcm[:minimum] - other[:minimum]).mean() > 0.01
    assert np.abs(pcm[:rate] - pcm[30 * rate : 31 * rate]).mean() > 0.01, "the loop came round unchanged"


def test_a_long_track_is_repeatable(tmp_path):
    paths = [tmp_path / name for name in ("a.wav", "b.wav")]
    for path in paths:
        write_long_track(path, 5, seconds=8)
    assert paths[0].read_bytes() == paths[1].read_bytes()
