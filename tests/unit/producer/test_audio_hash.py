"""What makes two files the same audio."""

import os
import random
import shutil

import mutagen
import numpy as np
import pytest
from mutagen.apev2 import APEv2
from mutagen.flac import FLAC, Picture
from mutagen.id3 import APIC, ID3, TIT2
from mutagen.mp4 import MP4, MP4Cover

from genremill.sample.encode import write_track
from producer.audio_hash import WHOLE_BYTES, audio_hash, same_audio
from tests.support.audio import write

SUFFIXES = (".wav", ".flac", ".ogg", ".mp3", ".m4a", ".opus", ".wv")
PICTURE = random.Random(0).randbytes(100_000)


@pytest.fixture(scope="module")
def originals(tmp_path_factory):
    folder = tmp_path_factory.mktemp("originals")
    noise = np.random.default_rng(0).normal(0, 0.2, (48_000 * 12, 2)).astype(np.float32)
    for suffix in SUFFIXES:
        path = folder / f"a{suffix}"
        if suffix in (".opus", ".wv"):
            write(path, noise, 48_000)
        else:
            write_track(path, noise, 48_000, {"title": "one"})
    return folder


@pytest.fixture(params=SUFFIXES)
def pair(request, originals, tmp_path):
    """A file, and a copy of it to be changed."""
    original = originals / f"a{request.param}"
    return original, shutil.copy(original, tmp_path / f"b{request.param}")


def is_column_value(number) -> bool:
    """Whether a column of 64 bits takes it."""
    return isinstance(number, int) and -(2**63) <= number < 2**63


def hash_of(path) -> int:
    return audio_hash(os.fsencode(path))


def retag(path) -> None:
    """Long tags and a picture, as the format has them."""
    match path.suffix:
        case ".mp3":
            tags = ID3(path)
            tags.add(TIT2(encoding=3, text="two"))
            tags.add(APIC(encoding=3, mime="image/png", type=3, data=PICTURE))
            tags.save(path, v1=2)
        case ".flac":
            tags, picture = FLAC(path), Picture()
            picture.data = PICTURE
            tags.add_picture(picture)
            tags["title"] = "two"
            tags.save()
        case ".m4a":
            tags = MP4(path)
            tags["covr"] = [MP4Cover(PICTURE)]
            tags.save()
        case _:
            tags = mutagen.File(path)
            if tags.tags is None:
                tags.add_tags()
            if path.suffix == ".wav":
                tags.tags.add(TIT2(encoding=3, text="x" * 100_000))
            else:
                tags["title"] = "x" * 100_000
            tags.save()


def test_retagging_is_no_change(pair):
    original, copy = pair
    retag(copy)
    assert copy.read_bytes() != original.read_bytes()
    assert hash_of(copy) == hash_of(original)
    assert same_audio(os.fsencode(original), os.fsencode(copy))


def test_apev2_behind_an_mp3_is_a_tag(originals, tmp_path):
    copy = shutil.copy(originals / "a.mp3", tmp_path / "b.mp3")
    tags = APEv2()
    tags["Title"] = "two"
    tags.save(copy)
    assert copy.stat().st_size > (originals / "a.mp3").stat().st_size
    assert hash_of(copy) == hash_of(originals / "a.mp3")


def test_changed_audio_is_a_change(pair):
    original, copy = pair
    content = bytearray(copy.read_bytes())
    content[{".wav": 1000, ".m4a": 5000}.get(copy.suffix, -1000)] ^= 0xFF  # these end with tags, or an index
    copy.write_bytes(content)
    assert hash_of(copy) != hash_of(original)
    assert not same_audio(os.fsencode(original), os.fsencode(copy))


@pytest.mark.parametrize("size", [0xFFFFFFFF, 0x7FFFFFFF], ids=["unknown", "too great"])
def test_wave_audio_of_which_the_header_gives_no_true_size_goes_to_the_end(originals, tmp_path, size):
    content = (originals / "a.wav").read_bytes()
    begin = content.index(b"data") + 8
    audio = content[begin : begin + int.from_bytes(content[begin - 4 : begin], "little")]
    paths = true, other = tmp_path / "true.wav", tmp_path / "other.wav"
    for path, said in zip(paths, (len(audio), size), strict=True):
        path.write_bytes(content[: begin - 4] + said.to_bytes(4, "little") + audio)
    assert hash_of(other) == hash_of(true)
    assert same_audio(os.fsencode(other), os.fsencode(true))


def test_wave_audio_of_unknown_size_may_be_larger_than_any_size_in_a_header(tmp_path):
    hashes = set()
    for end in (b"a", b"b"):
        path = tmp_path / "a.wav"
        path.write_bytes(b"RF64\xff\xff\xff\xffWAVEdata\xff\xff\xff\xff")
        os.truncate(path, 5 << 30)  # It takes no space: all zeros.
        with path.open("ab") as file:
            file.write(end)
        hashes.add(hash_of(path))
    assert len(hashes) == 2


def test_where_no_audio_is_found_every_byte_counts(tmp_path):
    path, other = tmp_path / "a.ogg", tmp_path / "b.ogg"
    page = bytearray(b"OggS" + bytes(23))  # A header alone. Its bytes 18 to 26 are those that tags change.
    path.write_bytes(page)
    page[20] = 1
    other.write_bytes(page)
    assert hash_of(path) != hash_of(other)


def test_a_cut_file_is_another(pair):
    original, copy = pair
    content = copy.read_bytes()
    copy.write_bytes(content[: len(content) // 2])
    assert hash_of(copy) != hash_of(original)


def test_look_alikes_are_told_apart(tmp_path):
    path, other = tmp_path / "a.raw.mp3", tmp_path / "b.raw.mp3"
    content = bytearray(random.Random(1).randbytes(8 * WHOLE_BYTES))
    path.write_bytes(content)
    content[100_000] ^= 1  # between two of the blocks that are hashed
    other.write_bytes(content)
    assert hash_of(path) == hash_of(other)
    assert not same_audio(os.fsencode(path), os.fsencode(other))


def test_files_that_are_gone(originals):
    with pytest.raises(FileNotFoundError):
        audio_hash(b"/none.mp3")
    assert not same_audio(os.fsencode(originals / "a.mp3"), b"/none.mp3")


def test_damage_never_raises(pair):
    original, copy = pair
    whole, chance = original.read_bytes(), random.Random(copy.suffix)
    for _ in range(60):
        damaged = bytearray(whole[: chance.randrange(1, len(whole))])
        for _ in range(30):
            damaged[chance.randrange(min(len(damaged), 3000))] = chance.randrange(256)
        copy.write_bytes(damaged)
        assert is_column_value(hash_of(copy))


ZEROS = {
    ".wav": b"RIFF\xff\xff\xff\x01WAVE",
    ".aiff": b"FORM\x01\xff\xff\xffAIFF",
    ".flac": b"fLaC",
    ".m4a": b"\0\0\0\x08ftyp",
    ".ogg": b"OggS",
    ".mp3": b"ID3\x04\0\0\0\0\0\0",
}


@pytest.mark.parametrize("suffix", ZEROS)
def test_a_download_that_is_all_zeros_is_not_walked_to_its_end(tmp_path, suffix, monkeypatch):
    path = tmp_path / f"a{suffix}"
    path.write_bytes(ZEROS[suffix])
    os.truncate(path, 50_000_000)
    reads, pread = [], os.pread
    monkeypatch.setattr(os, "pread", lambda *args: reads.append(args) or pread(*args))
    assert is_column_value(hash_of(path))
    assert len(reads) < 11_000


@pytest.mark.parametrize("size", [0x8000000000000000, 0xFFFFFFFFFFFFFFFF, 0x7FFFFFFFFFFFFFFF, 5])
@pytest.mark.parametrize("box", [b"free", b"mdat"])
def test_boxes_of_absurd_sizes(tmp_path, size, box):
    path = tmp_path / "a.m4a"
    path.write_bytes(b"\0\0\0\x08ftyp\0\0\0\x01" + box + size.to_bytes(8, "big") + PICTURE)
    assert is_column_value(hash_of(path))


@pytest.mark.parametrize(("flags", "footer"), [(0, b""), (0x10, bytes(10))])
def test_an_id3v2_tag_ends_where_it_says(tmp_path, flags, footer):
    """Its footer counts, if it has one, and nothing else does."""
    audio = bytes(range(1, 200))
    (tmp_path / "bare.mp3").write_bytes(audio)
    header = b"ID3\x04\0" + bytes([flags, 0, 0, 0, 5])
    (tmp_path / "tagged.mp3").write_bytes(header + bytes(5) + footer + audio)
    assert hash_of(tmp_path / "tagged.mp3") == hash_of(tmp_path / "bare.mp3")
