"""What files say of themselves."""

import os
import random

import numpy as np
import pytest

from genremill.sample.encode import write_track
from producer.metadata import Header, clean_tag, read_header
from tests.support.audio import write

TAGS = {
    "title": "Ein Lied", "artist": "Zoë", "album": "日本", "genre": "Jazz", "albumartist": "Viele",
    "date": "1999-12-31",
}  # fmt: skip
CODECS = {".wav": "pcm", ".flac": "flac", ".ogg": "vorbis", ".mp3": "mp3", ".m4a": "aac"}


@pytest.fixture(scope="module")
def noise():
    return np.random.default_rng(0).normal(0, 0.1, (66_150, 2)).astype(np.float32)


@pytest.mark.parametrize(("suffix", "codec"), CODECS.items())
def test_facts_and_tags(tmp_path, noise, suffix, codec):
    path = tmp_path / f"a{suffix}"
    write_track(path, noise, 44_100, TAGS)
    header = read_header(os.fsencode(path))
    assert header.duration_s == pytest.approx(1.5, abs=0.1)
    assert (header.codec, header.sample_rate, header.channels) == (codec, 44_100, 2)
    texts = (header.title, header.artist, header.album, header.genre, header.album_artist, header.date)
    assert texts == tuple(TAGS.values())
    assert header.year == 1999


@pytest.mark.parametrize(
    ("date", "year"),
    [("2003", 2003), ("1999-12", 1999), ("99", None), ("12.5.1999", None), ("0000", None), (None, None)],
)
def test_the_year_of_a_date(date, year):
    assert Header(date=date).year == year


@pytest.mark.parametrize(("suffix", "codec"), [(".opus", "opus"), (".wv", "wavpack")])
def test_other_formats(tmp_path, noise, suffix, codec):
    header = read_header(os.fsencode(write(tmp_path / f"a{suffix}", noise, 48_000)))
    assert (header.codec, header.channels) == (codec, 2)
    assert header.duration_s == pytest.approx(66_150 / 48_000, abs=0.1)


@pytest.mark.parametrize(("suffix", "codec"), CODECS.items())
@pytest.mark.parametrize("lie", [".mp3", ".wma", ".ape", ".mka"])
def test_a_suffix_that_lies(tmp_path, noise, suffix, codec, lie):
    path = tmp_path / f"a{suffix}"
    write_track(path, noise, 44_100, TAGS)
    path.rename(tmp_path / f"a{lie}")
    header = read_header(os.fsencode(tmp_path / f"a{lie}"))
    assert (header.codec, header.title) == (codec, TAGS["title"])


def test_tags_are_cleaned(tmp_path, noise):
    path = tmp_path / "a.flac"
    write_track(path, noise, 44_100, {"title": " two\nlines\x1b[31m ", "artist": "x" * 5000})
    header = read_header(os.fsencode(path))
    assert header.title == "twolines[31m"
    assert len(header.artist) == 1000


def test_what_cannot_be_read_says_nothing(tmp_path):
    os.mkfifo(tmp_path / "pipe.mp3")
    (tmp_path / "empty.mp3").touch()
    (tmp_path / "text.flac").write_text("no music")
    for name in ("pipe.mp3", "empty.mp3", "text.flac", "none.mp3"):
        assert read_header(os.fsencode(tmp_path / name)) == Header()


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".ogg", ".mp3", ".m4a"])
def test_damage_never_raises(tmp_path, noise, suffix):
    path = tmp_path / f"a{suffix}"
    write_track(path, noise, 44_100, TAGS)
    whole, chance = path.read_bytes(), random.Random(suffix)
    for _ in range(60):
        damaged = bytearray(whole[: chance.randrange(len(whole))])
        for _ in range(min(len(damaged), 20)):
            damaged[chance.randrange(min(len(damaged), 2000))] = chance.randrange(256)
        path.write_bytes(damaged)
        assert isinstance(read_header(os.fsencode(path)), Header)


def test_numbers_no_column_takes_are_left_out(tmp_path):
    chunk = b"fmt " + (16).to_bytes(4, "little") + bytes([1, 0, 2, 0]) + b"\xff" * 8 + bytes([4, 0, 16, 0])
    data = b"data" + (400_000).to_bytes(4, "little") + bytes(400_000)
    path = tmp_path / "a.wav"
    path.write_bytes(b"RIFF" + (4 + len(chunk + data)).to_bytes(4, "little") + b"WAVE" + chunk + data)
    header = read_header(os.fsencode(path))
    assert (header.codec, header.sample_rate, header.channels) == ("pcm", None, 2)


def write_flac_header(path, samples: int, sample_rate: int = 1) -> None:
    """A FLAC file that has nothing but a header, which claims so many samples at so many Hz in one channel."""
    sizes = (4096).to_bytes(2) * 2 + bytes(6)
    numbers = (sample_rate << 44 | (16 - 1) << 36 | samples).to_bytes(8)
    path.write_bytes(b"fLaC" + bytes([0x80, 0, 0, 34]) + sizes + numbers + bytes(16))


@pytest.mark.parametrize(
    ("samples", "duration_s"),
    [
        (0, None),
        (1, 1.0),
        (366 * 86_400, 366 * 86_400.0),
        (366 * 86_400 + 1, None),
        (2**36 - 1, None),
    ],
)
def test_a_duration_of_nothing_or_of_more_than_a_year_is_not_believed(tmp_path, samples, duration_s):
    write_flac_header(tmp_path / "a.flac", samples)
    header = read_header(os.fsencode(tmp_path / "a.flac"))
    assert (header.duration_s, header.codec, header.channels) == (duration_s, "flac", 1)


def write_wav_header(path, sample_rate: int) -> None:
    format_ = (1).to_bytes(2, "little") * 2 + sample_rate.to_bytes(4, "little") + b"\x10\0\0\0" + bytes([2, 0, 16, 0])
    chunks = b"fmt " + (16).to_bytes(4, "little") + format_ + b"data" + bytes(4)
    path.write_bytes(b"RIFF" + (4 + len(chunks)).to_bytes(4, "little") + b"WAVE" + chunks)


@pytest.mark.parametrize(
    ("sample_rate", "expected"), [(0, None), (1, 1), (2**31 - 1, 2**31 - 1), (2**31, None), (2**32 - 1, None)]
)
def test_a_sample_rate_that_no_column_takes_is_left_out(tmp_path, sample_rate, expected):
    write_wav_header(tmp_path / "a.wav", sample_rate)
    assert read_header(os.fsencode(tmp_path / "a.wav")).sample_rate == expected


def test_a_suffix_decides_between_formats_that_begin_alike(tmp_path, noise):
    """Both Vorbis and Opus are in Ogg pages, and a suffix may be in capitals or lie."""
    write(tmp_path / "a.opus", noise, 48_000)
    for name in ("b.OPUS", "c.ogg", "d.oga", "e"):
        (tmp_path / name).write_bytes((tmp_path / "a.opus").read_bytes())
        assert read_header(os.fsencode(tmp_path / name)).codec == "opus", name


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("  Jazz  ", "Jazz"),
        (["Jazz", "Soul"], "Jazz; Soul"),
        ("", None),
        (" \n\t ", None),
        ([""], None),
        ("a" * 1000, "a" * 1000),
        ("a" * 1001, "a" * 1000),
        ("\ud800x", "x"),
    ],
)
def test_a_tag_becomes_one_line_of_text(value, expected):
    assert clean_tag(value) == expected
