"""What a model costs on a GPU: measured by a simulated clock, and kept in files."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from tests.unit.worker.inference.simulated_gpu import MIRROR
from worker.inference import profiler
from worker.inference.batch_size import BATCH_SIZES, BatchCost, Profile
from worker.models.checkpoints import Checkpoint

# A file as genremill 0.1.0 has written it.
KEPT = (
    '[{"batch": 1, "seconds": 0.004211, "peak_bytes": 102760448}, {"batch": 2, "seconds": 0.0049, "peak_bytes": '
    '104857600}, {"batch": 4, "seconds": 0.0061, "peak_bytes": 104857600}, {"batch": 8, "seconds": 0.0102, '
    '"peak_bytes": 209715200}]'
)
KEPT_COSTS = (
    BatchCost(1, 0.004211, 102760448),
    BatchCost(2, 0.0049, 104857600),
    BatchCost(4, 0.0061, 104857600),
    BatchCost(8, 0.0102, 209715200),
)


def test_the_name_of_a_file_says_what_was_measured():
    model = replace(MIRROR, checkpoint=Checkpoint("vit_b_16_mel", "1", Path(), "0123456789abcdef"), dtype="bfloat16")
    name = profiler.profile_file_name(model, "NVIDIA H200 (SXM)")
    assert name == f"native_4_NVIDIA_H200_SXM_vit_b_16_mel_0123456789ab_bfloat16_{torch.__version__}.json"
    with_embeddings = profiler.profile_file_name(replace(model, embedding_size=768), "NVIDIA H200 (SXM)")
    assert with_embeddings == name.replace(".json", "_embeddings.json")


def test_a_profile_that_an_older_version_has_kept_is_read(tmp_path):
    file = tmp_path / "kept.json"
    file.write_text(KEPT)
    assert profiler.read_profile(file) == Profile(KEPT_COSTS, complete=True)


def test_a_profile_is_kept_as_older_versions_have_kept_it(tmp_path):
    file = tmp_path / "profiles" / "native_4_2.11.0+cu128.json"
    profiler.write_profile(file, Profile(KEPT_COSTS))
    assert file.read_text() == KEPT
    assert list(file.parent.iterdir()) == [file]


def test_where_there_is_no_file_there_is_no_profile(tmp_path):
    assert profiler.read_profile(tmp_path / "none.json") is None


@pytest.mark.parametrize("text", ["", "[{", "1", "[1]", '[{"batch": 1}]', '[{"windows": 1, "seconds": 1}]', "\xff"])
def test_a_damaged_profile_is_measured_again(tmp_path, caplog, text):
    file = tmp_path / "kept.json"
    file.write_bytes(text.encode("latin-1"))
    assert profiler.read_profile(file) is None
    assert f"{file} is damaged, and measured again" in caplog.text


def test_a_profile_of_other_batch_sizes_is_measured_again(tmp_path):
    file = tmp_path / "kept.json"
    file.write_text(KEPT.replace('"batch": 4', '"batch": 3'))
    assert profiler.read_profile(file) is None


class Gpu(SimpleNamespace):
    """A GPU that has a name, and counts how often its memory was given back."""

    def empty_cache(self):
        self.emptied += 1


@pytest.fixture
def gpu():
    return Gpu(name="a GPU", emptied=0)


def constant_rate(size):
    """A batch takes a millisecond and a byte for each window."""
    return size * 0.001, size


def test_sizes_are_measured_until_they_are_no_faster_and_take_long_enough(gpu):
    found = profiler.measure_sizes(gpu, constant_rate)
    assert found == Profile(tuple(BatchCost(size, size * 0.001, size) for size in (1, 2, 4, 8, 16)))


def test_all_sizes_are_measured_when_each_is_faster(gpu):
    found = profiler.measure_sizes(gpu, lambda size: (1.0, size))
    assert tuple(cost.batch for cost in found.costs) == BATCH_SIZES
    assert found.complete


def test_a_larger_batch_never_needs_less_memory_than_a_smaller_one(gpu):
    peaks = {1: 7, 2: 5, 4: 9, 8: 8, 16: 10}
    found = profiler.measure_sizes(gpu, lambda size: (size * 0.001, peaks[size]))
    assert [cost.peak_bytes for cost in found.costs] == [7, 7, 9, 9, 10]


def test_where_memory_ends_the_profile_is_not_complete(gpu, caplog):
    def measure(size):
        if size > 4:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return constant_rate(size)

    found = profiler.measure_sizes(gpu, measure)
    assert found == Profile(tuple(BatchCost(size, size * 0.001, size) for size in (1, 2, 4)), complete=False)
    assert "a GPU: no room to try 8 windows: CUDA out of memory" in caplog.text
    assert gpu.emptied == 1


def test_any_other_error_ends_the_measurement(gpu):
    def measure(size):
        raise RuntimeError("the kernel did not like it")

    with pytest.raises(RuntimeError, match="did not like"):
        profiler.measure_sizes(gpu, measure)
