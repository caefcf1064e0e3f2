"""MP3 through libmpg123 is what it is through libsndfile."""

import os
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile as sf

from tests.support import audio
from tests.unit.worker.decode.helpers import MUSICNN, read_all
from worker.decode.readers import libmpg123
from worker.decode.readers.base import ReaderError
from worker.decode.readers.ffmpeg import FfmpegReader
from worker.decode.readers.libmpg123 import Mpg123Reader
from worker.decode.readers.libsndfile import LibsndfileReader
from worker.decode.readers.mp3_frames import INDEX_STEP, index_constant_bit_rate, read_front, walk
from worker.decode.windows import read_windows
from worker.windowing import Windowing

pytestmark = pytest.mark.skipif(libmpg123.library() is None, reason="the system has no libmpg123")

SECONDS = 40
EVERYTHING_HZ = 1e9


def noise(rate, channels=2):
    """Noise like music: loud in the bass, soft in the treble, different everywhere. Its bit rate varies if it may."""
    chance = np.random.default_rng(0)
    frames = SECONDS * rate
    loudness = np.interp(np.arange(frames), np.linspace(0, frames, 9), [0.02, 1, 0.1, 0.5, 0.02, 1, 0.3, 0.05, 0.6])
    samples = np.cumsum(chance.normal(0, 1, (frames, channels)), 0)
    samples -= np.apply_along_axis(lambda x: np.convolve(x, np.ones(400) / 400, "same"), 0, samples)
    return (0.4 * samples / np.abs(samples).max(0) * loudness[:, None]).astype(np.float32)


KINDS = {  # sample rate, channels, how it is encoded
    "constant": (44_100, 2, {"bitrate_mode": "CONSTANT", "compression_level": 0.4}),
    "constant, least": (44_100, 1, {"bitrate_mode": "CONSTANT", "compression_level": 0.9}),
    "constant, 48 kHz": (48_000, 2, {"bitrate_mode": "CONSTANT", "compression_level": 0.4}),
    "constant, MPEG-2": (22_050, 2, {"bitrate_mode": "CONSTANT", "compression_level": 0.4}),
    "variable": (44_100, 2, {"bitrate_mode": "VARIABLE", "compression_level": 0.5}),
    "32 kbit": (44_100, 2, {"bit_rate": 32_000}),  # A frame of this bit rate has no room for an Info tag.
    "without a header": (44_100, 2, {"bitrate_mode": "VARIABLE", "compression_level": 0.5}),
}


@pytest.fixture(scope="module", params=KINDS)
def track(request, tmp_path_factory):
    rate, channels, encoding = KINDS[request.param]
    path = tmp_path_factory.mktemp(request.param.replace(" ", "-")) / "a.mp3"
    samples = noise(rate, channels)
    if "bit_rate" in encoding:
        write_with_ffmpeg(path, samples, rate, **encoding)
    else:
        with sf.SoundFile(path, "w", rate, channels, format="MP3", **encoding) as file:
            for at in range(0, len(samples), rate):
                file.write(samples[at : at + rate])
    if request.param == "without a header":
        data = path.read_bytes()
        path.write_bytes(data[data.index(b"\xff\xfb", data.index(b"Xing")) :])
    return os.fsencode(path)


def write_with_ffmpeg(path, samples, rate, bit_rate):
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libmp3lame", rate=rate, layout="stereo", bit_rate=bit_rate)
        frame = av.AudioFrame.from_ndarray(samples.T.copy(), "fltp", "stereo")
        frame.sample_rate = rate
        for part in (frame, None):
            container.mux(stream.encode(part))


def opened(path, max_frequency_hz):
    return Mpg123Reader(path, os.open(path, os.O_RDONLY), max_frequency_hz)


def rate_of(path):
    with sf.SoundFile(os.fsdecode(path)) as file:
        return file.samplerate


def data_of(path):
    return Path(os.fsdecode(path)).read_bytes()


def test_the_library_is_loaded_once():
    """mpg123.h says of mpg123_init(), which loading calls, that it should be called once."""
    assert libmpg123.library() is libmpg123.library()


def test_all_of_it_is_what_libsndfile_gives(track):
    reader = opened(track, EVERYTHING_HZ)
    with Path(os.fsdecode(track)).open("rb") as file:
        expected = read_all(LibsndfileReader(file.fileno()))
    found = read_all(reader)
    assert reader.rate == rate_of(track)
    assert SECONDS * reader.rate <= len(found) < (SECONDS + 0.1) * reader.rate
    assert b"without" in track or len(found) == len(expected)  # libsndfile guesses the length, and stops there.
    both = min(len(found), len(expected))
    assert np.abs(found[:both] - expected[:both]).max() < 1e-4
    reader.close()


@pytest.mark.parametrize("max_frequency_hz", [EVERYTHING_HZ, 4_000])
def test_a_seek_gives_what_reading_on_gives(track, max_frequency_hz):
    reader = opened(track, max_frequency_hz)
    whole = read_all(reader)
    for share in (0.1, 0.5, 0.9, 0.3):
        start = int(share * reader.frames)
        assert np.abs(read_all(reader, start, start + 20_000) - whole[start : start + 20_000]).max() < 1e-4
    reader.close()


def test_half_the_rate_is_taken_where_it_has_all_that_is_heard(track):
    whole, half = opened(track, EVERYTHING_HZ), opened(track, 4_000)
    assert (whole.rate, half.rate) == (rate_of(track), rate_of(track) // 2)
    assert abs(whole.frames - 2 * half.frames) <= 1
    windowing = Windowing(8_000, 40_000)
    halved = np.concatenate([block.pcm for block in read_windows(track, windowing, 99)])
    complete = np.concatenate(
        [block.pcm for block in read_windows(track, Windowing(8_000, 40_000, band_hz=99_999), 99)]
    )
    spectra = [
        np.abs(np.fft.rfft(pcm / 32768.0)) for pcm in (halved, complete)
    ]  # The samples differ, since they lie half a sample apart.
    assert np.abs(spectra[0] - spectra[1]).max() < 0.02 * spectra[1].max()
    assert spectra[1].max() > 1


def test_a_constant_bit_rate_is_an_index(track):
    data = data_of(track)
    found = index_constant_bit_rate(data[:2048], 0)
    if b"constant" not in track:
        assert found is None
        return
    for at in found.starts[1:].tolist():
        ahead = data[at : at + 5]
        assert any(ahead[i] == 0xFF and ahead[i + 1] & 0xE6 == 0xE2 for i in range(4))
    assert len(found.starts) * INDEX_STEP * 1152 * 2 > SECONDS * 22_050


def test_a_file_is_walked_through_only_where_its_bit_rate_is_not_constant(track, monkeypatch):
    reads, preadv = [], os.preadv  # It reads the chunks of a walk, and nothing else.
    monkeypatch.setattr(os, "preadv", lambda *args: reads.append(args) or preadv(*args))
    opened(track, EVERYTHING_HZ).close()
    assert bool(reads) is (b"constant" not in track)


def walk_through(path):
    fd = os.open(path, os.O_RDONLY)
    try:
        return walk(fd, read_front(fd)[1])
    finally:
        os.close(fd)


def test_a_walk_finds_every_frame_or_nothing(track, tmp_path):
    found, data = walk_through(track), data_of(track)
    assert all(data[start] == 0xFF and data[start + 1] & 0xE0 == 0xE0 for start in found.starts.tolist())
    assert found.smallest_frame_bytes * INDEX_STEP <= np.diff(found.starts).min()
    assert found.samples == pytest.approx(SECONDS * rate_of(track), abs=3 * 1152)
    tagged, damaged, short = (tmp_path / name for name in ("tagged.mp3", "damaged.mp3", "short.mp3"))
    tagged.write_bytes(data + b"TAG" + bytes(125))
    damaged.write_bytes(data[: len(data) // 2] + bytes(9) + data[len(data) // 2 :])
    short.write_bytes(data[:1000])
    assert walk_through(tagged).samples == found.samples
    assert walk_through(damaged) is None
    assert walk_through(short) is None


def test_without_libmpg123_libsndfile_reads_it(track):
    if b"without" in track:
        pytest.skip("libsndfile guesses the length")
    found = np.concatenate([block.pcm for block in read_windows(track, MUSICNN, 99)])
    again = np.concatenate([block.pcm for block in read_windows(track, MUSICNN, 99, use_mpg123=False)])
    spectra = [np.abs(np.fft.rfft(pcm / 32768.0)) for pcm in (found, again)]
    assert found.shape == again.shape
    assert np.abs(spectra[0] - spectra[1]).max() < 0.05 * spectra[1].max()


def test_what_is_no_mpeg_is_refused(tmp_path):
    path = audio.write(tmp_path / "a.flac", audio.sweep(1, 16_000), 16_000)
    with pytest.raises(ReaderError):
        opened(os.fsencode(path), 8_000)


def test_a_track_that_ends_early_is_damaged(track, tmp_path):
    if b"without" in track:
        pytest.skip("nothing says how long it is")
    path = tmp_path / "cut.mp3"
    data = data_of(track)
    path.write_bytes(data[: len(data) // 2])
    reader = opened(os.fsencode(path), EVERYTHING_HZ)
    with pytest.raises(ReaderError, match=r"ends at|cannot seek"):
        read_all(reader)
    reader.close()


def test_a_length_that_cannot_be_is_counted_anew(track, tmp_path):
    data = bytearray(data_of(track))
    at = max(data[:2048].find(b"Info"), data[:2048].find(b"Xing"))
    if at < 0:
        pytest.skip("it says no length")
    data[at + 8 : at + 12] = b"\xff\xff\xff\xf0"
    path = tmp_path / "lies.mp3"
    path.write_bytes(data)
    assert next(read_windows(os.fsencode(path), MUSICNN, 99)).pcm.any()


def test_a_track_whose_channels_change_is_read_or_refused_but_kills_nobody(tmp_path):
    parts = []
    for channels in (2, 1):
        path = tmp_path / f"{channels}.mp3"
        sf.write(path, noise(44_100, channels)[: 8 * 44_100], 44_100, format="MP3")
        parts.append(path.read_bytes())
    path = tmp_path / "both.mp3"
    path.write_bytes(parts[0] + parts[1])
    assert next(read_windows(os.fsencode(path), MUSICNN, 99)).pcm.any()
    reader = FfmpegReader(os.fsencode(path))
    with pytest.raises(ReaderError, match="channels change from 2 to 1"):
        read_all(reader)
    reader.close()
