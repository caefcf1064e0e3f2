"""The sample library: it plays, it is tagged, its broken files are broken, and writing it again changes nothing."""

import resource
import shutil
from contextlib import suppress
from pathlib import Path

import av
import mutagen
import numpy as np
import pytest
import soundfile
from mutagen.id3 import ID3

from genremill.sample.encode import SUFFIXES
from genremill.sample.library import (
    BROKEN_FLAC,
    BROKEN_MP3,
    DUPLICATE,
    ORIGINAL,
    TRACKS,
    library_paths,
    write_library,
)
from genremill.sample.styles import STYLES
from settings import GenremillError
from tests.unit.genremill.sample.reading import read_audio, read_tags, read_with_soundfile

BROKEN = (BROKEN_MP3, BROKEN_FLAC)


@pytest.fixture
def copy(library, tmp_path) -> Path:
    """A sample library that a test may change."""
    return shutil.copytree(library, tmp_path / "copy")


def modified_ns(folder: Path) -> dict[Path, int]:
    """When each file and folder was changed last."""
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


def mp3_payload(path: Path) -> bytes:
    """What follows the ID3v2 tag, less an ID3v1 tag at the end."""
    body = path.read_bytes()[ID3(path).size :]
    return body[:-128] if body[-128:-125] == b"TAG" else body


def test_library_holds_what_it_promises(library):
    files = library_paths(library)
    assert sorted(files) == sorted(path for path in library.rglob("*") if path.is_file())
    assert len(files) == 30
    assert sorted(track.style for track in TRACKS) == sorted(STYLES)
    assert {Path(track.path).suffix for track in TRACKS} == set(SUFFIXES)
    assert all(15 <= track.seconds <= 30 for track in TRACKS)
    assert {track.sample_rate for track in TRACKS} == {22_050, 44_100, 48_000}
    assert any("é" in str(path) for path in files)
    assert any("日本" in str(path) for path in files)


@pytest.mark.parametrize("track", TRACKS, ids=lambda track: track.style)
def test_track_plays(library, track):
    pcm, rate = read_audio(library / track.path)
    assert (rate, pcm.shape[1]) == (track.sample_rate, track.channels)
    assert len(pcm) / rate == pytest.approx(track.seconds, abs=0.06)
    assert 0.05 < np.abs(pcm).max() <= 1.0
    seconds = pcm[: len(pcm) // rate * rate].reshape(-1, rate * track.channels)
    assert np.sqrt(np.mean(seconds**2, axis=1)).min() > 0.002, "a silent second"


@pytest.mark.parametrize("track", TRACKS, ids=lambda track: track.style)
def test_tags_are_read_back(library, track):
    assert read_tags(library / track.path) == track.tags


def test_one_file_has_24_bits_and_one_a_variable_bit_rate(library):
    subtypes = [soundfile.info(path).subtype for path in library.rglob("*.flac") if path != library / BROKEN_FLAC]
    assert subtypes.count("PCM_24") == 1
    modes = {
        track.style: mutagen.File(library / track.path).info.bitrate_mode for track in TRACKS if ".mp3" in track.path
    }
    assert modes.pop("metal") == mutagen.mp3.BitrateMode.VBR
    assert set(modes.values()) == {mutagen.mp3.BitrateMode.CBR}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_does_not_open_in_soundfile(library, name):
    with pytest.raises(soundfile.LibsndfileError):
        read_with_soundfile(library / name)


@pytest.mark.parametrize("name", BROKEN)
def test_no_packet_of_a_broken_file_decodes(library, name):
    """PyAV opens the FLAC's header; still no packet gives a sample, not even to a reader that goes on behind errors."""
    samples = 0
    with suppress(av.FFmpegError), av.open(str(library / name)) as file:
        for packet in file.demux(audio=0):
            with suppress(av.FFmpegError):
                samples += sum(frame.samples for frame in packet.decode())
    assert samples == 0


def test_the_header_of_the_broken_flac_file_promises_three_minutes(library):
    info = mutagen.File(library / BROKEN_FLAC).info
    assert (info.length, info.sample_rate, info.channels, info.bits_per_sample) == (180, 44_100, 2, 16)


def test_duplicate_is_the_same_audio_in_another_file(library):
    assert (library / DUPLICATE).read_bytes() != (library / ORIGINAL).read_bytes()
    assert mp3_payload(library / DUPLICATE) == mp3_payload(library / ORIGINAL)
    assert read_tags(library / DUPLICATE)["title"] != read_tags(library / ORIGINAL)["title"]


def test_writing_a_library_that_is_there_changes_nothing(copy):
    before = modified_ns(copy)
    assert write_library(copy) == []
    assert modified_ns(copy) == before


def test_only_missing_files_are_written_again(copy):
    missing = [copy / DUPLICATE, copy / BROKEN_MP3, copy / BROKEN_FLAC, copy / TRACKS[1].path]
    content = {path: path.read_bytes() for path in missing}
    for path in missing:
        path.unlink()
    before = {path: time for path, time in modified_ns(copy).items() if path.is_file()}
    assert set(write_library(copy)) == set(missing)
    assert {path: path.read_bytes() for path in missing} == content
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_a_folder_that_cannot_be_written_is_named_with_the_reason(tmp_path):
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(GenremillError, match=f"cannot be written to {file}: Not a directory"):
        write_library(file)


@pytest.fixture
def full_disk():
    """Files of this process cannot grow beyond 50 kB, so that every library that writes one fails."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("name", [TRACKS[0].path, TRACKS[2].path, DUPLICATE, BROKEN_MP3])
def test_a_full_disk_is_one_error_for_every_format_and_leaves_no_half_file(copy, full_disk, name):
    (copy / name).unlink()
    before = set(modified_ns(copy))
    with pytest.raises(GenremillError, match="cannot be written to"):
        write_library(copy)
    assert set(modified_ns(copy)) == before
