"""What files say of themselves."""

import os
import random

import numpy as np
import pytest

from genremill.sample.encode import write_track
from producer.metadata import Header, read_header
from tests.support.audio import write

TAGS = {"title": "Ein Lied", "artist": "Zoë", "album": "日本", "genre": "Jazz"}
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
    assert (header.title, header.artist, header.album, header.genre) == tuple(TAGS.values())


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
