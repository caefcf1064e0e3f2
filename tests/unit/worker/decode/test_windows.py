"""Files to windows: the right stretches, the right samples, and an error where nothing is audible."""

import os
from dataclasses import replace

import av
import numpy as np
import pytest
import soundfile as sf
import soxr

from tests.support import audio
from tests.unit.worker.decode.conftest import rate_for
from tests.unit.worker.decode.helpers import FINE, FINE_FULL, MUSICNN, NOISE, cut_off, windows
from worker.decode.audio_file import AudioFile
from worker.decode.windows import read_windows
from worker.errors import DecoderOutOfMemoryError, SilentError
from worker.windowing import Windowing

LOSSY = ["ogg", "opus", "mp3", "m4a", "aac", "webm"]
LOSSLESS = ["wav", "flac", "wv", "ape"]


def reference(samples, rate, windowing=MUSICNN):
    """Float samples, resampled all at once to the model's rate, as int16."""
    resampled = soxr.resample(samples, rate, windowing.sample_rate, "HQ")
    return np.clip(np.rint(resampled * 32768), -32768, 32767).astype(np.int16)


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
    with AudioFile(os.fsencode(tracks(kind)), FINE.max_frequency_hz) as file:
        starts = [positions[0].start for positions in FINE.regions(file.length(16_000))]
    for start, region in zip(starts, np.split(regions, 3), strict=True):
        lags = range(-16, 17) if kind == "webm" else [0]  # Matroska's clock counts whole milliseconds.
        off = [np.abs(region.ravel().astype(int) - whole[start + lag :][: region.size]).max() for lag in lags]
        assert min(off) <= 2


def test_full_is_the_whole_track_resampled_at_once(tracks):
    samples, rate = sf.read(tracks("wav"), dtype="float32")
    found = windows(tracks("wav"), FINE_FULL).ravel()
    assert np.abs(found.astype(int) - reference(samples, rate)[: found.size]).max() <= 1
    assert found.size == len(samples) * 160 // 441 // 1600 * 1600


@pytest.mark.parametrize("rate", [8_000, 16_000, 22_050, 32_000, 44_101, 48_000, 96_000])
def test_the_file_may_have_any_rate(tmp_path, rate):
    path = audio.write(tmp_path / "a.wav", audio.sweep(40, rate), rate)
    whole = reference(sf.read(path, dtype="float32")[0], rate)
    start = MUSICNN.regions(40 * 16_000)[1][0].start
    assert np.abs(windows(path)[3].astype(int) - whole[start : start + 47_872]).max() <= 1


@pytest.mark.parametrize(("max_windows", "sizes"), [(4, [4, 4, 1]), (9, [9]), (10, [9]), (1, [1] * 9)])
def test_a_block_has_no_more_windows_than_are_wanted(tracks, max_windows, sizes):
    assert [len(block.pcm) for block in read_windows(os.fsencode(tracks("wav")), MUSICNN, max_windows)] == sizes


def test_a_track_too_short_for_regions_is_read_whole(tmp_path):
    path = audio.write(tmp_path / "a.wav", audio.sweep(20, 16_000), 16_000)
    assert np.array_equal(windows(path).ravel(), reference(sf.read(path, dtype="float32")[0], 16_000)[: 6 * 47_872])


def test_a_track_shorter_than_a_window_is_padded(tmp_path):
    path = audio.write(tmp_path / "a.flac", audio.sweep(1, 16_000), 16_000)
    found = windows(path)
    assert found.shape == (1, 47_872)
    assert found[0, 15_000:16_000].any()
    assert not found[0, 16_000:].any()


def test_a_track_of_one_sample_is_a_window(tmp_path):
    sf.write(tmp_path / "a.wav", np.full(1, 500, np.int16), 16_000)
    (window,) = windows(tmp_path / "a.wav", FINE)
    assert window.tolist() == [500] + [0] * 1_599


@pytest.mark.parametrize(("samples", "count"), [(3_199, 1), (3_200, 2), (3_201, 2)])
def test_a_tail_that_fills_no_window_is_left_out(tmp_path, samples, count):
    path = audio.write(tmp_path / "a.wav", np.full(samples, 0.5, np.float32), 16_000)
    assert windows(path, FINE_FULL).shape == (count, 1_600)
    assert (windows(path, FINE_FULL) == 16_384).mean() > 0.99


BY_FRAMES = Windowing(1_000, 11_700, "full", hop=100)  # A window is 114 frames, with 100 samples of context.


def write_ramp(path, total, rate=1_000):
    """Every sample tells where it is. None is silent."""
    pcm = (1_000 + np.arange(total) % 20_000).astype(np.int16)
    sf.write(path, pcm, rate)
    return pcm


def test_windows_and_edges_of_a_track_cut_by_frames_have_what_is_at_their_place(tmp_path):
    """30.001 s have 301 frames: two windows of 114, with 36 frames left over in front and 37 behind."""
    pcm = np.pad(write_ramp(tmp_path / "a.wav", 30_001), (100, 20_000))  # Zeros lie around the track.
    blocks = list(read_windows(os.fsencode(tmp_path / "a.wav"), BY_FRAMES, 16))
    assert [(len(block.pcm), block.cut.frames, block.cut.edge) for block in blocks] == [
        (1, 114, True),
        (2, 114, False),
        (1, 114, True),
    ]
    found = np.concatenate([block.pcm for block in blocks])
    for window, frame in zip(found, (0, 36, 150, 187), strict=True):
        assert np.array_equal(window, pcm[100 * frame : 100 * frame + 11_700])


def test_silent_windows_of_a_track_cut_by_frames_stay(tmp_path):
    pcm = write_ramp(tmp_path / "a.wav", 30_001)
    pcm[:20_000] = 0
    sf.write(tmp_path / "a.wav", pcm, 1_000)
    found = windows(tmp_path / "a.wav", BY_FRAMES)
    assert [window.any() for window in found] == [False, False, True, True]


def test_a_track_cut_by_frames_without_anything_audible_is_silent(tmp_path):
    sf.write(tmp_path / "a.wav", np.full(30_001, 32, np.int16), 1_000)
    with pytest.raises(SilentError):
        windows(tmp_path / "a.wav", BY_FRAMES)


@pytest.mark.parametrize(("total", "count"), [(11_301, 1), (22_700, 1), (22_701, 2)])
def test_a_window_by_frames_counts_from_the_middle_of_its_last_frame_on(tmp_path, total, count):
    """Regions of a track that is too short for them: windows begin at 0, 11,400, ... and frame 113 is at 11,300."""
    write_ramp(tmp_path / "a.wav", total)
    found = windows(tmp_path / "a.wav", replace(BY_FRAMES, coverage="regions"))
    assert len(found) == count
    assert found[0, 100] == 1_000
    assert not found[0, :100].any()


def test_a_track_shorter_than_a_window_by_frames_is_padded(tmp_path):
    write_ramp(tmp_path / "a.wav", 50)
    (window,) = windows(tmp_path / "a.wav", BY_FRAMES)
    assert window[100:150].tolist() == list(range(1_000, 1_050))
    assert not window[:100].any()
    assert not window[150:].any()


def test_a_silent_beginning_is_skipped_in_the_search_for_something_audible(tmp_path):
    pcm = np.zeros(5 * 1_600, np.int16)
    pcm[3 * 1_600 + 5] = 99
    sf.write(tmp_path / "a.wav", pcm, 16_000)
    (window,) = windows(tmp_path / "a.wav", FINE_FULL)
    assert window[5] == 99


def test_channels_are_averaged(tmp_path):
    left = audio.sweep(5, 16_000)
    for kind, tolerance in (("wav", 1), ("m4a", 1500)):
        path = audio.write(tmp_path / f"a.{kind}", np.stack([left, np.zeros_like(left)], axis=1), 16_000)
        assert abs(int(windows(path)[0, 4000:].max()) - 8192) <= tolerance


def test_silent_windows_are_left_out(tmp_path):
    samples = audio.sweep(60, 16_000)
    samples[: 20 * 16_000] = 0.0009
    found = [audio.time_of(window, 16_000) for window in windows(audio.write(tmp_path / "a.wav", samples, 16_000))]
    assert found == pytest.approx([30 - 2.992, 30, 30 + 2.992, 50 - 2.992, 50, 50 + 2.992], abs=0.06)


@pytest.mark.parametrize("sign", [1, -1])
def test_a_window_is_silent_up_to_a_peak_of_32(tmp_path, sign):
    samples = np.zeros(2 * 1_600, np.int16)
    samples[800], samples[2_400] = sign * 32, sign * 33
    sf.write(tmp_path / "a.wav", samples, 16_000)
    (window,) = windows(tmp_path / "a.wav", FINE)
    assert window[800] == sign * 33


def test_music_between_silent_regions_is_found(tmp_path):
    samples = audio.sweep(120, 16_000)
    samples[: 70 * 16_000] = samples[75 * 16_000 :] = 0
    found = [audio.time_of(window, 16_000) for window in windows(audio.write(tmp_path / "a.flac", samples, 16_000))]
    assert len(found) == 3
    assert found[1] == pytest.approx((24 + 0.5) * 2.992, abs=0.06)


def test_of_a_track_with_silent_regions_no_more_windows_are_taken_than_regions_have(tmp_path):
    samples = np.zeros(120 * 16_000, np.float32)
    samples[26 * 16_000 : 54 * 16_000] = 0.5  # between the first region and the second one
    windowing = Windowing(16_000, 32_000)
    assert windowing.region_windows == 5
    assert len(windows(audio.write(tmp_path / "a.flac", samples, 16_000), windowing)) == 14  # whole ones, of 2 s
    samples[26 * 16_000 : 54 * 16_000] = 0
    samples[66 * 16_000 : 94 * 16_000] = samples[28 * 16_000 : 40 * 16_000] = 0.5
    assert len(windows(audio.write(tmp_path / "a.flac", samples, 16_000), windowing)) == 15


def test_a_file_without_anything_audible_is_silent(tmp_path):
    with pytest.raises(SilentError, match=r"^a\.ogg: "):
        windows(audio.write(tmp_path / "a.ogg", np.zeros(40 * 16_000, np.float32), 16_000))


def test_floats_out_of_range_clip_and_nan_is_silence(tmp_path):
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
    assert found[-1] == pytest.approx(50 + 2.992, abs=1.0)  # MP3 has no clock: time that is lost is lost.


def test_an_unreasonable_demand_for_memory_is_an_error_of_the_track(tracks):
    with pytest.raises(DecoderOutOfMemoryError, match="memory"):
        windows(tracks("wav"), Windowing(16_000, 1 << 50))
