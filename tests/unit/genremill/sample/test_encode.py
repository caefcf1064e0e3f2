"""Encoding: what is written is read back, and a file appears whole or not at all."""

import numpy as np
import pytest

from genremill.sample import encode
from tests.unit.genremill.sample.reading import read_audio, read_tags

RATE = 44_100  # Hz
TAGS = {"title": "Étude", "artist": "夜行", "album": "One", "genre": "Noise"}


@pytest.fixture(scope="module")
def chord() -> np.ndarray:
    """Two and a half seconds of stereo sine waves, float32 (n, 2)."""
    t = np.arange(round(2.5 * RATE)) / RATE
    return np.stack([0.3 * np.sin(2 * np.pi * hz * t) for hz in (440, 660)], axis=1).astype(np.float32)


def peaks_hz(pcm: np.ndarray) -> list[float]:
    """The strongest frequency of each channel."""
    middle = pcm[RATE // 2 : 3 * RATE // 2]
    return np.abs(np.fft.rfft(middle, axis=0)).argmax(0).tolist()


@pytest.mark.parametrize("suffix", encode.SUFFIXES)
def test_a_track_is_read_back_with_its_tags(tmp_path, chord, suffix):
    path = tmp_path / "new folder" / f"a{suffix}"
    encode.write_track(path, chord, RATE, TAGS)
    pcm, rate = read_audio(path)
    assert rate == RATE
    assert len(pcm) / rate == pytest.approx(2.5, abs=0.06)
    assert peaks_hz(pcm) == [440, 660]
    assert read_tags(path) == TAGS


@pytest.mark.parametrize("suffix", encode.SUFFIXES)
def test_samples_of_16_bits_sound_like_floats(tmp_path, chord, suffix):
    encode.write_track(tmp_path / f"a{suffix}", np.rint(chord * 32767).astype(np.int16), RATE, TAGS)
    pcm, _ = read_audio(tmp_path / f"a{suffix}")
    assert peaks_hz(pcm) == [440, 660]
    assert np.abs(pcm[RATE : RATE + RATE // 2]).max() == pytest.approx(0.3, abs=0.02)


@pytest.mark.parametrize("suffix", encode.SUFFIXES)
def test_a_mono_track_stays_mono(tmp_path, chord, suffix):
    encode.write_track(tmp_path / f"a{suffix}", chord[:, 0], RATE, TAGS)
    pcm, _ = read_audio(tmp_path / f"a{suffix}")
    assert pcm.shape[1] == 1


def test_another_encoder_than_the_default_can_be_given(tmp_path, chord):
    path = tmp_path / "a.flac"
    encode.write_track(path, chord, RATE, TAGS, encode.SoundfileEncoder("FLAC", "PCM_24"))
    assert encode.soundfile.info(path).subtype == "PCM_24"


def test_tags_are_replaced(tmp_path, chord):
    path = tmp_path / "a.mp3"
    encode.write_track(path, chord, RATE, TAGS)
    encode.write_tags(path, {"title": "Other"}, ".mp3")
    assert read_tags(path) == TAGS | {"title": "Other"}


def test_an_unknown_suffix_names_those_there_are():
    with pytest.raises(ValueError, match=r"'.aiff'.*\.m4a"):
        encode.default_encoder(".aiff", 2)


def test_a_failed_write_leaves_no_file(tmp_path):
    with pytest.raises(ValueError, match="m4a"):
        encode.write_track(tmp_path / "a.aiff", np.zeros((100, 2), np.float32), 44_100, {})
    assert list(tmp_path.iterdir()) == []


def test_samples_are_split_into_seconds():
    blocks = list(encode.split_seconds(np.zeros((25, 2), np.float32), 10))
    assert [block.shape for block in blocks] == [(10, 2), (10, 2), (5, 2)]
