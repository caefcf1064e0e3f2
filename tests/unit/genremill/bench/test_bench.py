"""`genremill bench`: the rule that ends a table, the arithmetic, and small real runs on the CPU."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from genremill.bench import batches, files, naive, plot, random_weights, soak
from genremill.bench.batches import BatchTooLargeError, Point, climb
from genremill.bench.files import Row
from genremill.bench.pipeline import Pipeline
from genremill.bench.soak import Sample, summarise
from genremill.bench.target import Mode, load_target_model, windowing_of, windows_per_track
from genremill.cli import app
from genremill.sample.long_track import compose_long
from worker.models import checkpoints
from worker.windowing import Windowing

pytestmark = pytest.mark.filterwarnings("ignore:.*slated for removal:DeprecationWarning")  # of audioread's imports

PNG = b"\x89PNG\r\n\x1a\n"
CPU = Mode("cpu")
SIZES = [1 << power for power in range(14)]


@pytest.fixture(scope="module")
def tracks(tmp_path_factory):
    """A track that has three regions for musicnn, and one that is shorter than that."""
    folder = tmp_path_factory.mktemp("bench")
    paths = [folder / "long.flac", folder / "short.mp3"]
    for seed, (path, seconds) in enumerate(zip(paths, (36, 7), strict=True)):
        compose_long(path, seed, seconds)
    return paths


def rates(*windows_per_s: float):
    """A measurement that gives these rates, one after the other."""
    left = iter(windows_per_s)

    def timed(size: int) -> Point:
        rate = next(left)
        return Point(size, size / rate * 1e3, rate, rate / 9, 0.0, 0.0)

    return timed


def test_batches_grow_until_the_rate_has_not_risen_twice():
    points, end = climb(rates(100, 190, 300, 305, 301, 9999), SIZES)
    assert [point.batch for point in points] == [1, 2, 4, 8, 16]
    assert end == "larger batches are no faster"


def test_one_batch_that_is_no_faster_is_not_the_end():
    points, _ = climb(rates(100, 200, 199, 400, 401, 402, 9999), SIZES)
    assert [point.batch for point in points] == [1, 2, 4, 8, 16, 32]


@given(st.integers(0, 12))
def test_out_of_memory_ends_the_batches_and_says_so(fitting):
    grows = rates(*(2.0**power for power in range(13)))

    def timed(size: int) -> Point:
        if size > SIZES[fitting]:
            raise BatchTooLargeError("out of memory at 80000 MiB")
        return grows(size)

    points, end = climb(timed, SIZES)
    assert [point.batch for point in points] == SIZES[: fitting + 1]
    assert end == "out of memory at 80000 MiB"


def test_batches_that_all_fit_and_still_get_faster_end_with_the_largest():
    points, end = climb(rates(1, 2, 3, 4), SIZES[:4])
    assert len(points) == 4
    assert end == "larger batches are not tried"


def test_a_network_that_wants_more_memory_than_there_is_ends_the_table():
    model = load_target_model("musicnn", CPU)
    model.network.forward = lambda waveform: torch.empty(1 << 60)
    with pytest.raises(BatchTooLargeError, match=r"batches of 2: out of memory at \d+ MiB"):
        batches.time_batch(model, "cpu", 2)


def test_an_error_that_is_not_about_memory_is_not_hidden():
    model = load_target_model("musicnn", CPU)
    model.network.forward = lambda waveform: waveform @ waveform
    with pytest.raises(RuntimeError, match="shapes"):
        batches.time_batch(model, "cpu", 2)


def test_a_batch_is_timed_from_samples_to_probabilities():
    point = batches.time_batch(load_target_model("musicnn", CPU), "cpu", 3)
    assert point.batch == 3
    assert point.windows_per_s == pytest.approx(3 / (point.latency_ms / 1e3))
    assert point.tracks_per_s == pytest.approx(point.windows_per_s / 9)
    assert 50 < point.mean_mib <= point.peak_mib


def test_weights_from_a_seed_are_used_where_there_are_none_and_never_stored(data_dir):
    model = load_target_model("vit_b_16_mel", CPU)
    assert model.checkpoint.sha256 == ""
    assert windows_per_track(model) == 3
    assert not data_dir.exists()


@pytest.mark.parametrize("files_", [1, 2, 10, 50, 100, 101])
def test_the_numbers_of_files_end_with_all_of_them(files_):
    counts = files.counts_up_to(files_)
    assert counts[-1] == files_
    assert set(counts[:-1]) == {n for n in (1, 10, 100) if n < files_}


def test_a_row_is_compared_with_the_naive_pipeline_on_the_same_device():
    ways = [("naive", "CPU", 2.0), ("genremill", "CPU", 20.0), ("naive", "GPU", 4.0), ("genremill", "GPU", 100.0)]
    compared = files.compare(Row(10, way, device, "fp32", 10 / rate, rate, 0, 10) for way, device, rate in ways)
    assert [row.times_naive for row in compared] == [1, 10, 1, 25]


def test_the_product_and_the_naive_pipeline_agree_and_a_bad_file_costs_itself(tracks, tmp_path):
    model = checkpoints.load_model(checkpoints.find_checkpoint("musicnn"), "cpu")
    broken = tmp_path / "broken.mp3"
    broken.write_bytes(b"no audio")
    pipeline = Pipeline(model, "cpu")
    try:
        *ours, failed = pipeline.analyse([*tracks, broken])
    finally:
        pipeline.close()
    assert failed is None
    for path, found in zip(tracks, ours, strict=True):
        assert np.abs(found - naive.analyse(model, "cpu", path)).max() < 0.01


@torch.inference_mode()
def test_the_naive_pictures_are_those_the_network_sees():
    model = random_weights.load_random_model("vit_b_16_mel", "cpu")
    windowing, chance = windowing_of(model), np.random.default_rng(0)
    waveform = chance.normal(0, 0.1, 36 * model.sample_rate).astype(np.float32)
    drawn = naive.pictures("mel", waveform, windowing)
    windows = torch.from_numpy(naive.windows(waveform, windowing))
    lengths, peak = torch.full((3,), windowing.frames), float(naive.power("mel", waveform).max())
    seen = model.network.pictures(windows, lengths, torch.full((3,), peak)).numpy() / 2 + 0.5
    assert np.abs(seen - drawn).mean() < 1e-3


@pytest.mark.parametrize("windowing", [Windowing(16_000, 47_872), Windowing(22_050, 252_928 + 2048, hop=512)])
@pytest.mark.parametrize("seconds", [1, 7, 30, 36, 240])
def test_the_naive_windows_lie_within_the_track(windowing, seconds):
    samples = seconds * windowing.sample_rate
    positions = naive.positions(windowing, samples)
    assert 1 <= len(positions) <= 3 * windowing.region_windows
    assert len(positions) == 1 or all(samples - position.start >= windowing.needed(position) for position in positions)
    assert naive.windows(np.zeros(samples, np.float32), windowing).shape == (len(positions), windowing.window)


def test_the_naive_pipeline_is_measured_on_some_files_and_counted_for_all(tracks):
    one, all_ = files.measure_naive("musicnn", CPU, [*tracks, tracks[1]], most=2)
    assert (one.files, one.measured, all_.files, all_.measured) == (1, 2, 3, 2)
    assert all_.seconds == pytest.approx(3 / all_.tracks_per_s)
    assert all_.failed == 0


def test_memory_that_grows_after_the_first_minute_is_a_drift():
    samples = [Sample(float(s), 100 * s, 500.0, 1000.0 + max(0, s - 60)) for s in range(301)]
    result = summarise("GPU", "AMP bf16", samples)
    vram, rss = result.drifts
    assert (vram.memory, vram.settled_mib, vram.end_mib, vram.peak_mib) == ("VRAM", 1000, 1240, 1240)
    assert vram.drift_percent == pytest.approx(24)
    assert rss.drift_percent == 0
    assert (result.first_windows_per_s, result.last_windows_per_s) == pytest.approx((100, 100))


def test_a_soak_keeps_the_engine_busy(tmp_path):
    result = soak.soak("musicnn", CPU, 2.5 / 60)
    assert result.samples[-1].windows > result.samples[1].windows > 0
    assert [drift.memory for drift in result.drifts] == ["RSS"]
    plot.plot_soak(result, "musicnn", tmp_path / "soak.png")
    assert (tmp_path / "soak.png").read_bytes().startswith(PNG)


def test_the_command_gives_json_and_a_picture(data_dir, tracks, tmp_path, monkeypatch):
    monkeypatch.setitem(batches.MOST_WINDOWS, "CPU", 2)
    png = tmp_path / "bench.png"
    result = CliRunner().invoke(app, ["bench", str(tracks[0].parent), "--json", "--plot", str(png)])
    report = json.loads(result.stdout)
    assert {"machine", "model", "weights", "batches", "files"} == set(report)
    assert report["machine"]["gpu"] is None
    assert report["machine"]["cores"] >= 1
    assert [point["batch"] for point in report["batches"][0]["points"]] == [1, 2]
    assert [(row["files"], row["way"]) for row in report["files"]] == [
        (1, "genremill"), (1, "naive"), (2, "genremill"), (2, "naive")
    ]  # fmt: skip
    assert all(row["failed"] == 0 for row in report["files"])
    assert png.read_bytes().startswith(PNG)


def test_a_folder_without_audio_is_named(data_dir, tmp_path):
    result = CliRunner().invoke(app, ["bench", str(tmp_path)])
    assert f"{tmp_path} has no audio files" in str(result.exception)
