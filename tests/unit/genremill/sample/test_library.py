"""The sample library: it plays, it is tagged, its broken files are broken, and composing it is repeatable."""

from contextlib import suppress
from itertools import combinations
from pathlib import Path

import av
import mutagen
import numpy as np
import pytest
import soundfile
from mutagen.id3 import ID3
from typer.testing import CliRunner

from genremill.cli import app
from genremill.sample import encode, long_track, styles, synth
from genremill.sample import library as sample


@pytest.fixture(scope="module")
def root(library) -> Path:
    return library


@pytest.fixture(scope="module")
def pieces() -> dict[str, np.ndarray]:
    """Four seconds of every style, mono."""
    return {style: styles.compose_track(style, 4, seed=1, sample_rate=22_050).mean(1) for style in styles.STYLES}


def read_with_soundfile(path: Path) -> tuple[np.ndarray, int]:
    with soundfile.SoundFile(path) as file:
        return file.read(dtype="float32", always_2d=True), file.samplerate


def read_with_pyav(path: Path) -> tuple[np.ndarray, int]:
    resampler = av.AudioResampler(format="fltp")
    with av.open(str(path)) as file:
        rate = file.streams.audio[0].rate
        frames = [out.to_ndarray() for frame in file.decode(audio=0) for out in resampler.resample(frame)]
    return np.concatenate(frames, axis=1).T, rate


def read(path: Path) -> tuple[np.ndarray, int]:
    return read_with_pyav(path) if path.suffix == ".m4a" else read_with_soundfile(path)


def tags(path: Path) -> dict[str, str]:
    """Title, artist, album and genre as mutagen reads them."""
    file = mutagen.File(path, easy=True)
    frames = {"title": "TIT2", "artist": "TPE1", "album": "TALB", "genre": "TCON"}
    names = frames if path.suffix == ".wav" else {name: name for name in frames}
    return {name: str(file.tags[key][0]) for name, key in names.items()}


def mp3_payload(path: Path) -> bytes:
    """What follows the ID3v2 tag, less an ID3v1 tag at the end."""
    body = path.read_bytes()[ID3(path).size :]
    return body[:-128] if body[-128:-125] == b"TAG" else body


def test_library_holds_what_it_promises(root):
    files = sample.compose_library(root)
    assert sorted(files) == sorted(path for path in root.rglob("*") if path.is_file())
    assert 26 <= len(files) <= 30
    assert {item.style for item in sample.LIBRARY} == set(styles.STYLES)
    assert len(sample.LIBRARY) >= 25
    assert {Path(item.path).suffix for item in sample.LIBRARY} == set(encode.PLAYABLE)
    assert all(15 <= item.seconds <= 30 for item in sample.LIBRARY)
    assert {item.rate for item in sample.LIBRARY} == {22_050, 44_100, 48_000}
    assert any("é" in str(path) for path in files)
    assert any("日本" in str(path) for path in files)


@pytest.mark.parametrize("item", sample.LIBRARY, ids=lambda item: item.style)
def test_track_plays(root, item):
    pcm, rate = read(root / item.path)
    assert (rate, pcm.shape[1]) == (item.rate, item.channels)
    assert len(pcm) / rate == pytest.approx(item.seconds, abs=0.06)
    assert 0.05 < np.abs(pcm).max() <= 1.0
    seconds = pcm[: len(pcm) // rate * rate].reshape(-1, rate * item.channels)
    assert np.sqrt(np.mean(seconds**2, axis=1)).min() > 0.002, "a silent second"


@pytest.mark.parametrize("item", sample.LIBRARY, ids=lambda item: item.style)
def test_tags_are_read_back(root, item):
    assert tags(root / item.path) == item.tags


def test_special_encodings(root):
    subtypes = [soundfile.info(path).subtype for path in root.rglob("*.flac") if path.name != "unfinished.flac"]
    assert subtypes.count("PCM_24") == 1
    modes = {
        item.style: mutagen.File(root / item.path).info.bitrate_mode for item in sample.LIBRARY if ".mp3" in item.path
    }
    assert modes.pop("metal") == mutagen.mp3.BitrateMode.VBR
    assert set(modes.values()) == {mutagen.mp3.BitrateMode.CBR}


def test_broken_files_do_not_open_in_soundfile(root):
    for name in sample.BROKEN:
        with pytest.raises(soundfile.LibsndfileError):
            read_with_soundfile(root / name)


@pytest.mark.parametrize("name", sample.BROKEN)
def test_no_packet_of_a_broken_file_decodes(root, name):
    """PyAV opens the FLAC's header; still no packet gives a sample, not even to a reader that goes on behind errors."""
    samples = 0
    with suppress(av.FFmpegError), av.open(str(root / name)) as file:
        for packet in file.demux(audio=0):
            with suppress(av.FFmpegError):
                samples += sum(frame.samples for frame in packet.decode())
    assert samples == 0


def test_duplicate_is_the_same_audio_in_another_file(root):
    name, item = sample.DUPLICATE
    assert (root / name).read_bytes() != (root / item.path).read_bytes()
    assert mp3_payload(root / name) == mp3_payload(root / item.path)
    assert tags(root / name)["title"] != tags(root / item.path)["title"]


def test_composing_again_changes_nothing(root):
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    sample.compose_library(root)
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*")} == before


def test_only_a_missing_file_is_written_again(root):
    path = root / sample.DUPLICATE[0]
    before = {other: other.stat().st_mtime_ns for other in root.rglob("*.*") if other != path}
    content = path.read_bytes()
    path.unlink()
    sample.compose_library(root)
    assert path.read_bytes() == content
    assert {other: other.stat().st_mtime_ns for other in before} == before


def test_a_failed_write_leaves_no_file(tmp_path):
    with pytest.raises(ValueError, match="m4a"):
        encode.write_track(tmp_path / "a.aiff", np.zeros((100, 2), np.float32), 44_100, {})
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_style_names_the_valid_ones():
    with pytest.raises(ValueError, match="techno"):
        styles.compose_track("polka", 1, 0)


def test_composing_is_repeatable_and_seeded():
    first, again, other = (styles.compose_track("jazz", 3, seed, 22_050) for seed in (1, 1, 2))
    assert first.dtype == np.float32
    assert first.shape == (3 * 22_050, 2)
    assert np.array_equal(first, again)
    assert not np.allclose(first, other, atol=0.01)


def test_peak(pieces):
    assert all(0.05 < np.abs(pcm).max() <= synth.PEAK for pcm in pieces.values())


def test_styles_are_distinct(pieces):
    """Of two styles, the spectrum or its movement differs: level and spread of 23 bands in dB."""

    def describe(pcm: np.ndarray) -> np.ndarray:
        power = np.abs(np.fft.rfft(pcm[: len(pcm) // 1024 * 1024].reshape(-1, 1024) * np.hanning(1024))) ** 2
        edges = np.unique(np.geomspace(2, 512, 24).astype(int))
        bands = 10 * np.log10(np.add.reduceat(power, edges, axis=1) + 1e-6)
        return np.concatenate((bands.mean(0), bands.std(0)))

    descriptions = {style: describe(pcm) for style, pcm in pieces.items()}
    distance = {
        (one, other): np.abs(descriptions[one] - descriptions[other]).mean() for one, other in combinations(pieces, 2)
    }
    nearest = min(distance, key=distance.get)
    assert distance[nearest] > 1.0, f"{nearest} differ by {distance[nearest]:.2f} dB"
    assert len(pieces) >= 24


@pytest.mark.parametrize("suffix", encode.PLAYABLE)
def test_long_track(tmp_path, suffix):
    paths = [tmp_path / f"{seed}{suffix}" for seed in (1, 2)]
    for seed, path in enumerate(paths, 1):
        long_track.compose_long(path, seed, seconds=33)
    (pcm, rate), (other, _) = map(read, paths)
    assert (rate, pcm.shape[1]) == (44_100, 2)
    assert len(pcm) / rate == pytest.approx(33, abs=0.06)
    assert np.abs(pcm).max() <= 1.0
    minimum = min(len(pcm), len(other))
    assert np.abs(pcm[:minimum] - other[:minimum]).mean() > 0.01
    assert np.abs(pcm[:rate] - pcm[30 * rate : 31 * rate]).mean() > 0.01, "the loop came round unchanged"


def test_the_command_says_what_it_wrote_and_where(root):
    result = CliRunner().invoke(app, ["sample", str(root)])
    assert result.exit_code == 0
    assert f"30 files, two of them broken on purpose and one a duplicate, in {root}" in result.output
