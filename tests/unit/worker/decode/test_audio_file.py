"""One open file: readers that take over from each other, and an error of the right kind when none can read it."""

import os
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from tests.support import audio
from tests.unit.worker.decode.helpers import MUSICNN, NOISE, cut_off, windows
from worker.decode.audio_file import AudioFile, display_name
from worker.decode.readers import libmpg123
from worker.decode.windows import read_windows
from worker.errors import (
    MissingFileError,
    NoAudioError,
    SilentError,
    TrackError,
    UndecodableError,
    UnreadableFileError,
)


def reader_of(path, **options):
    with AudioFile(os.fsencode(path), 8_000, **options) as file:
        return file.reader.name


@pytest.mark.parametrize(
    ("kind", "name"),
    [("wav", "soundfile"), ("flac", "soundfile"), ("ogg", "PyAV"), ("opus", "PyAV"), ("m4a", "PyAV"), ("wv", "PyAV")],
)
def test_each_format_has_its_reader(tracks, kind, name):
    assert reader_of(tracks(kind)) == name


@pytest.mark.skipif(libmpg123.library() is None, reason="the system has no libmpg123")
def test_mp3_is_read_by_libmpg123_unless_that_is_not_wanted(tracks):
    assert reader_of(tracks("mp3")) == "mpg123"
    assert reader_of(tracks("mp3"), use_mpg123=False) == "soundfile"


def test_ogg_with_something_in_front_of_its_codecs_name_is_read_by_the_faster_reader_all_the_same(tracks, tmp_path):
    """A first stream that is not audio moves the codec's name out of the bytes that are looked at first."""
    page = bytearray(b"OggS\0\2" + bytes(8) + b"\x39\x05\0\0" + bytes(8) + b"\1\x40" + b"fishead\0" + bytes(56))
    path = tmp_path / "a.ogg"
    path.write_bytes(bytes(page) + tracks("ogg").read_bytes())
    try:
        sf.info(path)
    except sf.LibsndfileError:
        pytest.skip("libsndfile does not read Ogg with two streams")
    assert reader_of(path) == "PyAV"


@pytest.mark.parametrize(
    ("front", "is_ffmpegs"),
    [
        (b"OggS" + bytes(53) + b"\x01vorbis", True),
        (b"OggS" + bytes(52) + b"OpusHead", True),
        (b"OggS" + bytes(54) + b"\x01vorbis", False),  # The name is not all in the first 64 bytes.
        (b"OggS" + bytes(53) + b"\x7fFLAC\1\0", False),
        (b"oggS" + bytes(53) + b"\x01vorbis", False),
    ],
)
def test_ogg_with_vorbis_or_opus_is_tried_with_ffmpeg_first(tmp_path, front, is_ffmpegs):
    path = tmp_path / "a.ogg"
    path.write_bytes(front + bytes(1_000))
    order = r"\(PyAV: .+; soundfile: .+\)" if is_ffmpegs else r"\(soundfile: .+; PyAV: .+\)"
    with pytest.raises(UndecodableError, match=order):
        reader_of(path)


def test_when_a_reader_breaks_the_next_one_goes_on_where_it_stopped(tmp_path):
    path = audio.write(tmp_path / "a.flac", audio.sweep(40, 16_000), 16_000)
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 3_000] = NOISE[:3_000]
    path.write_bytes(data)
    with AudioFile(os.fsencode(path), 8_000) as file:
        assert file.reader.name == "soundfile"
        samples = np.concatenate(list(file.samples(16_000, 0)))
    assert 39 * 16_000 < len(samples) <= 40 * 16_000
    assert audio.time_of(samples[10 * 16_000 : 12 * 16_000], 16_000) == pytest.approx(11, abs=0.06)
    lost_s = 40 - len(samples) / 16_000  # Blocks that are damaged are left out.
    assert audio.time_of(samples[30 * 16_000 : 32 * 16_000], 16_000) == pytest.approx(31 + lost_s, abs=0.06)


@pytest.mark.parametrize("rate", [8_000, 16_000, 22_050, 44_100])
def test_its_length_is_rounded_up(tmp_path, rate):
    path = audio.write(tmp_path / "a.wav", np.full(12_345, 0.5, np.float32), 44_100)
    with AudioFile(os.fsencode(path), 8_000) as file:
        assert file.length(rate) == -(-12_345 * rate // 44_100)


def test_samples_are_those_from_the_start_as_many_as_are_wanted(tmp_path):
    path = audio.write(tmp_path / "a.wav", audio.sweep(2, 16_000), 16_000)
    whole = sf.read(path, dtype="float32")[0]
    with AudioFile(os.fsencode(path), 8_000) as file:
        assert np.array_equal(np.concatenate(list(file.samples(16_000, 100, 999))), whole[100:1_099])
        assert np.array_equal(np.concatenate(list(file.samples(16_000, 31_000))), whole[31_000:])


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


def test_a_file_without_bytes_or_without_frames_has_no_audio(tmp_path):
    (tmp_path / "a.mp3").touch()
    sf.write(tmp_path / "b.wav", np.zeros(0), 16_000)
    for name in ("a.mp3", "b.wav"):
        with pytest.raises(NoAudioError, match=name):
            windows(tmp_path / name)


def test_what_the_system_does_not_open_is_unreadable_or_missing(tmp_path):
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
    Path(os.fsdecode(path)).write_bytes(tracks(kind).read_bytes())
    assert len(windows(path)) == 9
    os.truncate(path, 0)
    with pytest.raises(NoAudioError, match=r"^\\xff\\xfe:%d\."):
        windows(path)


def test_a_name_for_messages_is_the_last_part_of_the_path():
    assert display_name("/music/Café/a b.mp3".encode()) == "a b.mp3"
    assert display_name(b"/music/\xe9.mp3") == "\\xe9.mp3"


def test_nothing_stays_open(tracks, tmp_path):
    (tmp_path / "a.mp3").write_text("words " * 100)
    before = len(list(Path("/proc/self/fd").iterdir()))
    for path in (tracks("m4a"), tracks("wav"), tracks("opus"), tmp_path / "a.mp3"):
        try:
            next(iter(read_windows(os.fsencode(path), MUSICNN, 2)))  # The generator is dropped half way.
        except UndecodableError:
            continue
    assert len(list(Path("/proc/self/fd").iterdir())) == before
