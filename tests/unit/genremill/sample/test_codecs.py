"""One file in each codec."""

import mutagen
import numpy as np
import pytest

from genremill.sample.codecs import CODECS, encode_all
from tests.unit.genremill.sample.reading import read_with_pyav

RATE = 44_100  # Hz
SECONDS = 4.3


@pytest.fixture(scope="module")
def pcm() -> np.ndarray:
    """A rising sine wave in stereo, int16 (n, 2)."""
    t = np.arange(round(SECONDS * RATE)) / RATE
    sine = np.sin(2 * np.pi * (300 + 200 * t) * t)
    return np.stack((12_000 * sine, 6_000 * sine), axis=1).astype(np.int16)


@pytest.fixture(scope="module")
def paths(tmp_path_factory, pcm):
    return encode_all(tmp_path_factory.mktemp("codecs"), pcm, RATE)


@pytest.mark.parametrize("name", CODECS)
def test_a_file_is_as_long_as_the_track(paths, name):
    pcm, rate = read_with_pyav(paths[name])
    assert rate == (48_000 if name == "opus" else RATE)
    assert pcm.shape[1] == 2
    assert len(pcm) / rate == pytest.approx(SECONDS, abs=0.08)


@pytest.mark.parametrize("name", [name for name in CODECS if not name.startswith("mp3")])
def test_a_file_is_as_loud_as_the_track(paths, name):
    """MP3 files are left out: libsndfile 1.2.2 makes half of their sound noise (see CODECS)."""
    pcm, rate = read_with_pyav(paths[name])
    assert np.abs(pcm[rate : 2 * rate]).max(0) == pytest.approx([12_000 / 32_768, 6_000 / 32_768], abs=0.03)


@pytest.mark.parametrize("name", ["wav", "wav 24 bit", "aiff", "flac", "alac", "wavpack"])
def test_a_lossless_codec_keeps_every_sample(paths, pcm, name):
    assert np.array_equal(np.rint(read_with_pyav(paths[name])[0] * 32_768), pcm)


def test_mp3_files_have_the_bit_rates_of_their_names(paths):
    infos = {name: mutagen.File(paths[name]).info for name in CODECS if name.startswith("mp3")}
    assert infos["mp3 192"].bitrate == pytest.approx(192_000, rel=1e-4)
    assert infos["mp3 320"].bitrate == pytest.approx(320_000, rel=1e-4)
    assert infos["mp3 vbr"].bitrate_mode == mutagen.mp3.BitrateMode.VBR


def test_only_the_bare_mp3_file_has_no_xing_header(paths):
    assert b"Xing" in paths["mp3 vbr"].read_bytes()[:2000]
    assert b"Xing" not in paths["mp3 vbr bare"].read_bytes()


def test_files_that_are_there_stay(paths, pcm):
    before = {path: path.stat().st_mtime_ns for path in paths.values()}
    folder = paths["wav"].parent
    assert encode_all(folder, pcm, RATE) == paths
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before


def test_some_of_the_codecs_can_be_chosen(tmp_path, pcm):
    paths = encode_all(tmp_path, pcm, RATE, ("flac", "wav"))
    assert list(paths) == ["flac", "wav"]
    assert sorted(tmp_path.iterdir()) == sorted(paths.values())


@pytest.mark.parametrize("name", [name for name in CODECS if name.startswith("mp3")])
def test_an_mp3_of_int16_in_stereo_has_the_sound_that_it_was_given(tmp_path, name):
    seconds = np.arange(3 * 44_100) / 44_100
    sine = np.stack([0.3 * np.sin(2 * np.pi * hz * seconds) for hz in (440, 660)], axis=1)
    path = encode_all(tmp_path, np.rint(sine * 32_767).astype(np.int16), 44_100, [name])[name]
    pcm, _ = read_with_pyav(path)
    middle = pcm[44_100 : 2 * 44_100]
    assert np.abs(middle).max() == pytest.approx(0.3, abs=0.02)
    assert np.abs(np.fft.rfft(middle, axis=0)).argmax(0).tolist() == [440, 660]
