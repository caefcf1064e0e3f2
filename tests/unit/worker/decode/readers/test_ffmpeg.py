"""FFmpeg's reader: exact after a seek, or as exact as the clock of the format is; careful with odd streams."""

import os

import av
import numpy as np
import pytest

from tests.support import audio
from tests.unit.worker.decode.conftest import APE
from tests.unit.worker.decode.helpers import NOISE, read_all, windows
from worker.decode.readers.adts import index_adts
from worker.decode.readers.base import ReaderError
from worker.decode.readers.ffmpeg import FfmpegReader

ID3V2, ID3V1 = b"ID3\x04\0\0\0\0\x10\0" + bytes(2048), b"TAG" + bytes(125)


def opened(path):
    return FfmpegReader(os.fsencode(path))


@pytest.mark.parametrize(("start", "stop"), [(1_000, 9_000), (100_000, 101_000), (70_000, 150_000), (470_000, 480_000)])
def test_a_part_of_packets_that_last_seconds_is_what_the_whole_has_there(start, stop):
    reader = opened(APE)
    whole = read_all(reader)
    assert np.array_equal(read_all(reader, start, stop), whole[start:stop])


@pytest.mark.parametrize(("front", "end"), [(b"", b""), (ID3V2, b""), (b"", ID3V1), (ID3V2, ID3V1)])
def test_adts_is_found_by_its_frames_whatever_lies_around_them(tracks, tmp_path, front, end):
    path = tmp_path / "a.aac"
    path.write_bytes(front + tracks("aac").read_bytes() + end)
    reader = opened(path)
    whole = read_all(reader)
    with av.open(str(path)) as file:
        packets = sum(packet.size > 0 for packet in file.demux(audio=0))
    assert reader.frames == len(whole) == 1024 * packets
    for start in (0, 500, 1_000_000, 2_000_000):
        part = read_all(reader, start, start + 30_000)
        assert np.abs(part - whole[start : start + 30_000]).max() < 0.01  # Noise substitution is random.


def test_adts_is_opened_without_a_walk_through_its_packets(tracks, monkeypatch):
    """Its frames are found by their headers in a seventh of the time."""
    read, packets = [], FfmpegReader._packets

    def recorded(reader):
        for packet in packets(reader):
            read.append(packet)
            yield packet

    monkeypatch.setattr(FfmpegReader, "_packets", recorded)
    opened(tracks("aac")).close()
    assert len(read) == 1


def test_adts_with_something_between_its_frames_is_counted_by_packets(tracks, tmp_path):
    path, data = tmp_path / "a.aac", tracks("aac").read_bytes()
    starts = index_adts(os.fsencode(tracks("aac")), 0).starts
    middle = starts[len(starts) // 2]
    path.write_bytes(data[:middle] + NOISE[:700] + data[middle:])
    found = [audio.time_of(window, 16_000) for window in windows(path)]
    assert len(found) == 9
    assert found[0] == pytest.approx(10 - 2.992, abs=0.1)


def test_adts_whose_channels_change_is_used_up_to_there(tracks, tmp_path):
    samples = audio.sweep(60, 44_100)
    stereo = audio.write(tmp_path / "stereo.aac", np.stack([samples, samples], axis=1), 44_100)
    path = tmp_path / "a.aac"
    path.write_bytes(tracks("aac").read_bytes() + stereo.read_bytes())
    reader, found = opened(path), []
    with pytest.raises(ReaderError, match="channels change from 1 to 2"):
        found.extend(reader.blocks(50 * 44_100, None))
    assert 8 < sum(map(len, found)) / 44_100 < 12


@pytest.mark.parametrize(("kind", "rate"), [("oga", 48_000), ("adpcm", 96_000)])
def test_what_ffmpeg_misplaces_after_a_seek_is_read_from_its_beginning(tmp_path, kind, rate):
    quiet = audio.sweep(40, rate, level=0.01)  # So that a page of Ogg has many packets.
    reader = opened(audio.write(tmp_path / f"a.{kind}", quiet, rate))
    whole = read_all(reader)
    for start in (4 * rate, 21 * rate, 33 * rate, 12 * rate):
        assert np.array_equal(read_all(reader, start, start + rate), whole[start : start + rate])


def test_wma_is_found_to_the_millisecond_of_its_clock(tracks):
    reader = opened(tracks("wma"))
    whole = read_all(reader)
    for start in (200_000, 1_000_000, 2_000_000):
        region = read_all(reader, start, start + 30_000)
        around = whole[start - 200 : start + 30_200]
        off = np.argmax(np.correlate(around, region, "valid")) - 200
        assert abs(off) <= 2 * 45
        assert len(region) == 30_000
    sweep = audio.sweep(60, 44_100)[110_000:130_000]
    assert np.argmax(np.correlate(whole[100_000:140_000], sweep, "valid")) == pytest.approx(10_000, abs=90)


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
    found = read_all(opened(path))
    assert np.abs(found[10_000:90_000]).max() == pytest.approx(np.abs(left).max() / 32768 / 8, rel=0.1)


def test_a_file_without_audio_is_refused(tmp_path):
    path = tmp_path / "a.srt"
    path.write_text("1\n00:00:00,000 --> 00:00:01,000\nHello\n")
    with pytest.raises(ReaderError, match="no audio stream"):
        opened(path)


def test_frames_go_into_a_buffer_as_int16(tmp_path):
    path = audio.write(tmp_path / "a.wv", audio.sweep(2, 8_000), 8_000)
    reader, buffer = opened(path), np.full((5_000, 1), 7, np.int16)
    assert reader.read_into(buffer, 12_000) == 4_000
    expected = np.rint(read_all(reader, 12_000, 16_000) * 32_768)
    assert np.array_equal(buffer[:4_000, 0], expected)
    assert (buffer[4_000:] == 7).all()
