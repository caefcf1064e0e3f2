"""libsndfile's reader: exact to the frame, and with the file's own channels where a device mixes them."""

import numpy as np
import pytest
import soundfile as sf

from tests.support import audio
from tests.unit.worker.decode.helpers import read_all
from worker.decode.readers.base import ReaderError
from worker.decode.readers.libsndfile import LibsndfileReader


@pytest.fixture
def opened():
    """Opens files, and closes them after the test."""
    files, readers = [], []

    def opener(path):
        files.append(path.open("rb"))
        readers.append(LibsndfileReader(files[-1].fileno()))
        return readers[-1]

    yield opener
    for open_file in (*readers, *files):
        open_file.close()


def write(path, frames=5_000, channels=2, subtype="PCM_16"):
    pcm = np.random.default_rng(0).integers(-32768, 32768, (frames, channels), np.int16)
    sf.write(path, pcm / 32768 if subtype == "FLOAT" else pcm, 8_000, subtype)
    return pcm


def test_it_says_what_the_file_is(tmp_path, opened):
    write(tmp_path / "a.flac")
    reader = opened(tmp_path / "a.flac")
    assert (reader.name, reader.codec, reader.rate, reader.frames) == ("soundfile", "PCM_16", 8_000, 5_000)


@pytest.mark.parametrize(("start", "stop"), [(0, None), (0, 5_000), (1, 4_999), (4_999, 9_999), (100, 100), (0, 1)])
def test_blocks_are_the_mean_of_the_channels_between_start_and_stop(tmp_path, opened, start, stop):
    pcm = write(tmp_path / "a.wav")
    blocks = [np.zeros(0), *opened(tmp_path / "a.wav").blocks(start, stop)]
    assert np.allclose(np.concatenate(blocks), pcm[start:stop].mean(1) / 32768, atol=1e-7)


@pytest.mark.parametrize(
    ("channels", "subtype", "native_channels"),
    [(1, "PCM_16", 1), (2, "PCM_16", 2), (3, "PCM_16", 1), (2, "PCM_24", 2), (2, "FLOAT", 1)],
)
def test_frames_go_into_a_buffer_with_up_to_two_channels_of_pcm(tmp_path, opened, channels, subtype, native_channels):
    pcm = write(tmp_path / "a.wav", channels=channels, subtype=subtype)
    reader = opened(tmp_path / "a.wav")
    assert reader.channels == native_channels
    out = np.full((1_000, native_channels), 7, np.int16)
    assert reader.read_into(out, 4_200) == 800
    expected = pcm[4_200:] if native_channels == channels else pcm[4_200:].mean(1, keepdims=True)
    assert np.abs(out[:800] - expected).max() <= 0.5
    assert (out[800:] == 7).all()


def test_mp3_after_a_seek_is_what_reading_on_gives(tmp_path, opened):
    path = audio.write(tmp_path / "a.mp3", audio.sweep(4, 44_100), 44_100)
    reader = opened(path)
    assert reader.codec == "MPEG_LAYER_III"
    whole = read_all(reader)
    for start in (100, 22_050, 44_100, 100_000):
        assert np.abs(read_all(reader, start, start + 5_000) - whole[start : start + 5_000]).max() < 1e-6


@pytest.mark.parametrize(("missing_s", "is_damage"), [(0.0999, False), (0.1001, True)])
def test_an_end_that_comes_a_tenth_of_a_second_early_is_damage(tmp_path, opened, missing_s, is_damage):
    path = tmp_path / "a.wav"
    write(path, frames=100_000, channels=1)
    reader = opened(path)
    with path.open("r+b") as file:
        file.truncate(44 + 2 * round(100_000 - missing_s * 8_000))
    if is_damage:
        with pytest.raises(ReaderError, match=r"it ends at 12\.4 s of 12\.5 s"):
            read_all(reader)
        assert len(read_all(reader, 0, 90_000)) == 90_000
    else:
        read_all(reader)


def test_what_libsndfile_does_not_know_is_refused(tmp_path, opened):
    (tmp_path / "a.wav").write_text("words")
    with pytest.raises(ReaderError):
        opened(tmp_path / "a.wav")
