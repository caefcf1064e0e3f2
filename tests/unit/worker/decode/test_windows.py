"""Files to windows: the right stretches, the right samples, and a plain sentence where there are none."""

import os
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile as sf
import soxr

from tests.support import audio
from tests.support.paths import DATA
from worker.decode import audio_file
from worker.decode.readers.adts import adts_index
from worker.decode.readers.base import ReaderError
from worker.decode.readers.ffmpeg import FfmpegReader
from worker.decode.windows import read_windows
from worker.errors import (
    DecoderOutOfMemoryError,
    MissingFileError,
    NoAudioError,
    SilentError,
    TrackError,
    UndecodableError,
    UnreadableFileError,
)
from worker.windowing import Windowing

MUSICNN = Windowing(16_000, 47_872)
FINE = Windowing(16_000, 1_600)
FINE_FULL = Windowing(16_000, 1_600, "full")
NOISE = np.random.default_rng(7).bytes(200_000)
LOSSY = ["ogg", "opus", "mp3", "m4a", "aac", "webm"]
LOSSLESS = ["wav", "flac", "wv", "ape"]
APE = DATA / "sweep.ape"  # at level 0.05 and 8 kHz, stereo; PyAV cannot write it


def windows(path, windowing=MUSICNN, limit=16):
    return np.concatenate([block.pcm for block in read_windows(os.fsencode(path), windowing, limit)])


def rate_for(kind):
    return {"opus": 48_000, "webm": 48_000, "ape": 8_000}.get(kind, 44_100)


def reference(samples, rate, windowing=MUSICNN):
    resampled = soxr.resample(samples, rate, windowing.sample_rate, "HQ")
    return np.clip(np.rint(resampled * 32768), -32768, 32767).astype(np.int16)


def cut_off(path, part):
    os.truncate(path, int(path.stat().st_size * part))
    return path


@pytest.fixture(scope="module")
def tracks(tmp_path_factory):
    """A minute's sweep in every format, each written once."""
    folder = tmp_path_factory.mktemp("tracks")

    def track(kind):
        if kind == "ape":
            return APE
        path, rate = folder / f"sweep.{kind}", rate_for(kind)
        return path if path.exists() else audio.write(path, audio.sweep(60, rate), rate)

    return track


@pytest.mark.parametrize("kind", [*LOSSLESS, *LOSSY, "wma"])
def test_regions_come_from_where_they_should(tracks, kind):
    found = [audio.time_of(window, 16_000) for window in windows(tracks(kind))]
    expected = [centre + step * 2.992 for centre in (10, 30, 50) for step in (-1, 0, 1)]
    assert found == pytest.approx(expected, abs=0.06)


@pytest.mark.parametrize("kind", LOSSLESS)
def test_lossless_regions_are_those_of_the_whole_track_resampled(tracks, kind):
    if kind == "ape":
        samples = np.rint(audio.sweep(60, 8_000, level=0.05) * 32767) / np.float32(32768)
    elif kind == "wv":
        with av.open(str(tracks(kind))) as container:
            samples = np.concatenate([frame.to_ndarray()[0] for frame in container.decode(audio=0)]) / np.float32(32768)
    else:
        samples = sf.read(tracks(kind), dtype="float32")[0]
    whole = reference(samples, rate_for(kind))
    starts = [positions[0].start for positions in MUSICNN.regions(60 * 16_000)]
    expected = np.concatenate([whole[start : start + 3 * 47_872] for start in starts])
    assert np.abs(windows(tracks(kind)).ravel().astype(int) - expected).max() <= 1


@pytest.mark.parametrize("kind", LOSSY)
def test_seeking_gives_what_reading_on_gives(tracks, kind):
    whole, regions = windows(tracks(kind), FINE_FULL).ravel(), windows(tracks(kind), FINE)
    with audio_file.AudioFile(os.fsencode(tracks(kind)), FINE.max_frequency_hz) as track:
        starts = [positions[0].start for positions in FINE.regions(track.length(16_000))]
    for start, region in zip(starts, np.split(regions, 3), strict=True):
        lags = range(-16, 17) if kind == "webm" else [0]  # Matroska's clock counts whole milliseconds
        off = [np.abs(region.ravel().astype(int) - whole[start + lag :][: region.size]).max() for lag in lags]
        assert min(off) <= 2


@pytest.mark.parametrize(("start", "stop"), [(1_000, 9_000), (100_000, 101_000), (70_000, 150_000), (470_000, 480_000)])
def test_a_part_of_packets_that_last_seconds_is_what_the_whole_has_there(start, stop):
    reader = FfmpegReader(os.fsencode(APE))
    whole = np.concatenate(list(reader.blocks(0, None)))
    assert np.array_equal(np.concatenate(list(reader.blocks(start, stop))), whole[start:stop])


ID3V2, ID3V1 = b"ID3\x04\0\0\0\0\x10\0" + bytes(2048), b"TAG" + bytes(125)


@pytest.mark.parametrize(("front", "end"), [(b"", b""), (ID3V2, b""), (b"", ID3V1), (ID3V2, ID3V1)])
def test_adts_is_found_by_its_frames_whatever_lies_around_them(tracks, tmp_path, front, end):
    path = tmp_path / "a.aac"
    path.write_bytes(front + tracks("aac").read_bytes() + end)
    index = adts_index(os.fsencode(path), len(front))
    with av.open(str(path)) as file:
        packets = [packet.pos for packet in file.demux(audio=0) if packet.size]
    assert list(index.starts) == packets
    reader = FfmpegReader(os.fsencode(path))
    whole = np.concatenate(list(reader.blocks(0, None)))
    assert reader.frames == len(whole) == 1024 * len(packets)
    for start in (0, 500, 1_000_000, 2_000_000):
        part = np.concatenate(list(reader.blocks(start, start + 30_000)))
        assert np.abs(part - whole[start : start + 30_000]).max() < 0.01  # noise substitution is random


def test_adts_with_something_between_its_frames_is_counted_by_packets(tracks, tmp_path):
    path, data = tmp_path / "a.aac", tracks("aac").read_bytes()
    starts = adts_index(os.fsencode(tracks("aac")), 0).starts
    middle = starts[len(starts) // 2]
    path.write_bytes(data[:middle] + NOISE[:700] + data[middle:])
    assert adts_index(os.fsencode(path), 0) is None
    found = [audio.time_of(window, 16_000) for window in windows(path)]
    assert len(found) == 9
    assert found[0] == pytest.approx(10 - 2.992, abs=0.1)


def test_adts_whose_channels_change_is_used_up_to_there(tracks, tmp_path):
    samples = audio.sweep(60, 44_100)
    stereo = audio.write(tmp_path / "stereo.aac", np.stack([samples, samples], axis=1), 44_100)
    path = tmp_path / "a.aac"
    path.write_bytes(tracks("aac").read_bytes() + stereo.read_bytes())
    assert adts_index(os.fsencode(path), 0) is None
    reader, found = FfmpegReader(os.fsencode(path)), []
    with pytest.raises(ReaderError, match="channels change from 1 to 2"):
        found.extend(reader.blocks(50 * 44_100, None))
    assert 8 < sum(map(len, found)) / 44_100 < 12


@pytest.mark.parametrize("data", [b"", b"\xff\xf1", NOISE, bytes(5000), b"\xff" * 5000, b"\xff\xf1\x50\x80\0\0\0" * 99])
def test_what_is_not_adts_has_no_index(tmp_path, data):
    path = tmp_path / "a.aac"
    path.write_bytes(data)
    assert adts_index(os.fsencode(path), 0) is None
    assert adts_index(os.fsencode(tmp_path / "gone.aac"), 0) is None


@pytest.mark.parametrize(("kind", "rate"), [("oga", 48_000), ("adpcm", 96_000)])
def test_what_ffmpeg_misplaces_after_a_seek_is_read_from_its_beginning(tmp_path, kind, rate):
    quiet = audio.sweep(40, rate, level=0.01)  # so that a page of Ogg has many packets
    path = audio.write(tmp_path / f"a.{kind}", quiet, rate)
    reader = FfmpegReader(os.fsencode(path))
    whole = np.concatenate(list(reader.blocks(0, None)))
    for start in (4 * rate, 21 * rate, 33 * rate, 12 * rate):
        assert np.array_equal(np.concatenate(list(reader.blocks(start, start + rate))), whole[start : start + rate])


def test_wma_is_found_to_the_millisecond_of_its_clock(tracks):
    reader = FfmpegReader(os.fsencode(tracks("wma")))
    whole = np.concatenate(list(reader.blocks(0, None)))
    for start in (200_000, 1_000_000, 2_000_000):
        region = np.concatenate(list(reader.blocks(start, start + 30_000)))
        around = whole[start - 200 : start + 30_200]
        off = np.argmax(np.correlate(around, region, "valid")) - 200
        assert abs(off) <= 2 * 45
        assert len(region) == 30_000
    assert np.argmax(
        np.correlate(whole[100_000:140_000], audio.sweep(60, 44_100)[110_000:130_000], "valid")
    ) == pytest.approx(10_000, abs=90)


def test_full_is_the_whole_track_resampled_at_once(tracks):
    samples, rate = sf.read(tracks("wav"), dtype="float32")
    found = windows(tracks("wav"), FINE_FULL).ravel()
    assert np.abs(found.astype(int) - reference(samples, rate)[: found.size]).max() <= 1
    assert found.size == len(samples) * 160 // 441 // 1600 * 1600


@pytest.mark.parametrize("rate", [8_000, 16_000, 22_050, 32_000, 44_101, 48_000, 96_000])
def test_any_rate_of_the_file(tmp_path, rate):
    path = audio.write(tmp_path / "a.wav", audio.sweep(40, rate), rate)
    whole = reference(sf.read(path, dtype="float32")[0], rate)
    start = MUSICNN.regions(40 * 16_000)[1][0].start
    assert np.abs(windows(path)[3].astype(int) - whole[start : start + 47_872]).max() <= 1


def test_limit_bounds_each_block(tracks):
    assert [len(block.pcm) for block in read_windows(os.fsencode(tracks("wav")), MUSICNN, 4)] == [4, 4, 1]


def test_a_track_too_short_for_regions_is_read_whole(tmp_path):
    path = audio.write(tmp_path / "a.wav", audio.sweep(20, 16_000), 16_000)
    assert np.array_equal(windows(path).ravel(), reference(sf.read(path, dtype="float32")[0], 16_000)[: 6 * 47_872])


def test_a_track_shorter_than_a_window_is_padded(tmp_path):
    path = audio.write(tmp_path / "a.flac", audio.sweep(1, 16_000), 16_000)
    found = windows(path)
    assert found.shape == (1, 47_872)
    assert found[0, 15_000:16_000].any()
    assert not found[0, 16_000:].any()


def test_channels_are_averaged(tmp_path):
    left = audio.sweep(5, 16_000)
    for kind, tolerance in (("wav", 1), ("m4a", 1500)):
        path = audio.write(tmp_path / f"a.{kind}", np.stack([left, np.zeros_like(left)], axis=1), 16_000)
        assert abs(int(windows(path)[0, 4000:].max()) - 8192) <= tolerance


@pytest.mark.parametrize(("codec", "kind"), [("aac", "mp4"), ("wavpack", "wv"), ("pcm_s16le", "matroska")])
def test_eight_channels_are_averaged(tmp_path, codec, kind):
    """PyAV counts more planes than there are, where there are eight."""
    left = (audio.sweep(2, 48_000) * 32767).astype(np.int16)
    pcm = np.zeros((len(left), 8), np.int16)
    pcm[:, 0] = left
    path = tmp_path / f"a.{kind}"
    with av.open(str(path), "w", format=kind) as file:
        stream = file.add_stream(codec, rate=48_000, layout="7.1")
        frame = av.AudioFrame.from_ndarray(pcm.reshape(1, -1), "s16", "7.1")
        frame.sample_rate, frame.pts = 48_000, 0
        file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    reader = FfmpegReader(os.fsencode(path))
    found = np.concatenate(list(reader.blocks(0, None)))
    assert np.abs(found[10_000:90_000]).max() == pytest.approx(np.abs(left).max() / 32768 / 8, rel=0.1)


def test_silent_windows_are_left_out(tmp_path):
    samples = audio.sweep(60, 16_000)
    samples[: 20 * 16_000] = 0.0009
    found = [audio.time_of(window, 16_000) for window in windows(audio.write(tmp_path / "a.wav", samples, 16_000))]
    assert found == pytest.approx([30 - 2.992, 30, 30 + 2.992, 50 - 2.992, 50, 50 + 2.992], abs=0.06)


def test_music_between_silent_regions_is_found(tmp_path):
    samples = audio.sweep(120, 16_000)
    samples[: 70 * 16_000] = samples[75 * 16_000 :] = 0
    found = [audio.time_of(window, 16_000) for window in windows(audio.write(tmp_path / "a.flac", samples, 16_000))]
    assert len(found) == 3
    assert found[1] == pytest.approx((24 + 0.5) * 2.992, abs=0.06)


def test_nothing_audible_is_silent(tmp_path):
    with pytest.raises(SilentError, match=r"^a\.ogg: "):
        windows(audio.write(tmp_path / "a.ogg", np.zeros(40 * 16_000, np.float32), 16_000))


def test_floats_out_of_range_clip_and_nan_is_nothing(tmp_path):
    samples = audio.sweep(5, 16_000, level=4.0)
    samples[100:200], samples[300:400], samples[500:600] = np.nan, np.inf, 1e38
    found = windows(audio.write(tmp_path / "a.wav", samples, 16_000, subtype="FLOAT"))[0]
    assert not found[100:200].any()
    assert (found[300:400] == 32767).all()
    assert found.min() == -32768


@pytest.mark.parametrize("kind", ["wav", "flac", "ogg", "opus", "mp3", "aac"])
def test_what_is_left_of_a_truncated_file_is_used(tracks, tmp_path, kind):
    path = tmp_path / f"cut.{kind}"
    path.write_bytes(tracks(kind).read_bytes())
    found = windows(cut_off(path, 0.5))
    assert 2 <= len(found) <= 9
    assert all(-1 < audio.time_of(window, 16_000) < 32 for window in found)


def test_a_beginning_that_no_region_reaches_is_used(tmp_path):
    path = audio.write(tmp_path / "a.flac", audio.sweep(200, 16_000), 16_000)
    found = windows(cut_off(path, 0.05))
    assert 1 <= len(found) <= 4
    assert audio.time_of(found[0], 16_000) == pytest.approx(1.496, abs=0.06)


@pytest.mark.parametrize("kind", ["flac", "ogg", "mp3", "m4a", "opus"])
def test_damage_in_the_middle_costs_only_the_middle(tracks, tmp_path, kind):
    data = bytearray(tracks(kind).read_bytes())
    middle = len(data) // 2
    data[middle : middle + 3000] = NOISE[:3000]
    path = tmp_path / f"damaged.{kind}"
    path.write_bytes(data)
    found = [audio.time_of(window, 16_000) for window in windows(path)]
    assert len(found) >= 6
    assert found[0] == pytest.approx(10 - 2.992, abs=0.06)
    assert found[-1] == pytest.approx(50 + 2.992, abs=1.0)  # MP3 has no clock: what is lost is lost


def test_a_playable_file_without_an_index_is_undecodable(tracks, tmp_path):
    path = tmp_path / "cut.m4a"
    path.write_bytes(tracks("m4a").read_bytes())
    with pytest.raises(UndecodableError, match=r"soundfile: .*PyAV: "):
        windows(cut_off(path, 0.5))


@pytest.mark.parametrize("content", [b"These are only words. " * 500, NOISE, b"ID3", b"\xff\xfb\x90"])
@pytest.mark.parametrize("ending", ["mp3", "m4a", "raw"])
def test_what_is_not_audio_never_escapes_as_another_error(tmp_path, content, ending):
    path = tmp_path / f"noise.{ending}"
    path.write_bytes(content)
    with pytest.raises(TrackError, match=rf"^noise\.{ending}: ") as caught:
        windows(path)
    assert isinstance(caught.value, UndecodableError | NoAudioError | SilentError)


def test_text_named_mp3_is_undecodable_for_two_reasons(tmp_path):
    (tmp_path / "a.mp3").write_text("These are only words. " * 500)
    with pytest.raises(UndecodableError, match=r"^a\.mp3: .*\(soundfile: .+; PyAV: .+\)"):
        windows(tmp_path / "a.mp3")


def test_no_bytes_and_no_frames_are_empty(tmp_path):
    (tmp_path / "a.mp3").touch()
    sf.write(tmp_path / "b.wav", np.zeros(0), 16_000)
    for name in ("a.mp3", "b.wav"):
        with pytest.raises(NoAudioError, match=name):
            windows(tmp_path / name)


def test_what_the_system_does_not_give(tmp_path):
    os.mkfifo(tmp_path / "pipe.mp3")
    (tmp_path / "loop.mp3").symlink_to("loop.mp3")
    for path in (tmp_path, tmp_path / "pipe.mp3", tmp_path / "loop.mp3", "nul\0.mp3"):
        with pytest.raises(UnreadableFileError):
            windows(path)
    for path in (tmp_path / "gone.mp3", tmp_path / "pipe.mp3" / "below.mp3"):
        with pytest.raises(MissingFileError):
            windows(path)


@pytest.mark.parametrize("kind", ["wav", "m4a"])
def test_names_that_are_not_utf8(tmp_path, tracks, kind):
    path = os.fsencode(tmp_path) + b"/\xff\xfe:%d." + kind.encode()
    os.link(tracks(kind), path)
    assert len(windows(path)) == 9
    os.truncate(path, 0)
    tracks(kind).unlink()  # it was the same file
    with pytest.raises(NoAudioError, match=r"^\\xff\\xfe:%d\."):
        windows(path)


def test_an_unreasonable_demand_for_memory_is_an_error_of_the_track(tracks):
    with pytest.raises(DecoderOutOfMemoryError, match="memory"):
        windows(tracks("wav"), Windowing(16_000, 1 << 50))


def test_nothing_stays_open(tracks, tmp_path):
    (tmp_path / "a.mp3").write_text("words " * 100)
    before = len(list(Path("/proc/self/fd").iterdir()))
    for path in (tracks("m4a"), tracks("wav"), tracks("opus"), tmp_path / "a.mp3"):
        try:
            next(iter(read_windows(os.fsencode(path), MUSICNN, 2)))  # and dropped half way
        except UndecodableError:
            continue
    assert len(list(Path("/proc/self/fd").iterdir())) == before
