"""What the driver tells, and what becomes of what it does not tell."""

import os
from pathlib import Path

import pytest

from tests.support.fake_nvml import GIB, FakeGpu, FakeNvml, given
from worker.gpu import nvml
from worker.gpu.nvml import Gpu, Process, Usage

NOT_AVAILABLE = FakeNvml.NVML_VALUE_NOT_AVAILABLE_ulonglong.value
NO_PID = 1 << 30  # More than any process id that Linux gives.
THREE_GPUS = FakeNvml(FakeGpu("GPU-aa1"), FakeGpu("GPU-aa2"), FakeGpu("GPU-b"))


@pytest.fixture(autouse=True)
def every_gpu_is_visible(monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


def listed_uuids(*arguments) -> list[str]:
    return [gpu.uuid for gpu in nvml.list_gpus(*arguments)]


VISIBLE = [
    ("", []),
    ("-1", []),
    ("2,0", ["GPU-b", "GPU-aa1"]),
    ("GPU-b,GPU-aa2", ["GPU-b", "GPU-aa2"]),
    ("1, GPU-b", ["GPU-aa2", "GPU-b"]),
    ("0,9,1", ["GPU-aa1"]),  # CUDA sees nothing behind a GPU that is not there
    ("1,1,2", ["GPU-aa2"]),  # nor behind a GPU that was named before
    ("2,GPU-aa,0", ["GPU-b"]),  # nor behind a word that may mean two GPUs
    ("GPU-aa", []),
]


@pytest.mark.parametrize(("visible", "uuids"), VISIBLE)
def test_cuda_visible_devices_chooses_as_cuda_reads_it(monkeypatch, visible, uuids):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert listed_uuids(THREE_GPUS) == uuids


def test_what_is_visible_can_be_given_in_place_of_the_variable(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    assert listed_uuids(THREE_GPUS, "1,2") == ["GPU-aa2", "GPU-b"]
    assert listed_uuids(THREE_GPUS, "") == []


def test_a_gpu_is_described_by_its_number_uuid_name_and_memory():
    assert nvml.list_gpus(FakeNvml(FakeGpu("GPU-a"), FakeGpu("GPU-b"))) == [
        Gpu(0, "GPU-a", "Fake GPU", 16 * GIB),
        Gpu(1, "GPU-b", "Fake GPU", 16 * GIB),
    ]


def test_the_own_gpu_is_the_first_visible_one(monkeypatch):
    assert nvml.own_gpu(THREE_GPUS).uuid == "GPU-aa1"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-b")
    assert nvml.own_gpu(THREE_GPUS) == Gpu(2, "GPU-b", "Fake GPU", 16 * GIB)
    assert nvml.own_gpu(FakeNvml()) is None


def test_a_driver_without_gpus_lists_none():
    assert nvml.list_gpus(FakeNvml()) == []


def test_without_a_driver_there_are_no_gpus_and_no_figures(monkeypatch):
    monkeypatch.setattr(nvml, "load_library", lambda: None)
    assert nvml.list_gpus() == []
    assert nvml.own_gpu() is None
    assert nvml.read_usage("GPU-a") == Usage()


@pytest.mark.parametrize(
    ("word", "uuids"),
    [("0", ["GPU-aa1"]), ("2", ["GPU-b"]), ("3", []), ("GPU-aa", ["GPU-aa1", "GPU-aa2"]), ("aa1", []), ("", [])],
)
def test_a_word_means_a_position_or_the_beginning_of_a_uuid(word, uuids):
    assert [gpu.uuid for gpu in nvml.match_gpus(nvml.list_gpus(THREE_GPUS), word)] == uuids


def changed(function: str, answer=None, library=THREE_GPUS) -> FakeNvml:
    """The same GPUs in a library one of whose functions gives this answer, or, without one, has no answer."""

    def reply(self, *_arguments):
        return given(answer)

    return type("Changed", (FakeNvml,), {function: reply})(*library.gpus)


@pytest.mark.parametrize("function", ["nvmlDeviceGetCount", "nvmlDeviceGetHandleByIndex", "nvmlDeviceGetUUID"])
def test_gpus_that_cannot_be_told_apart_are_not_listed(function):
    assert nvml.list_gpus(changed(function)) == []


def test_a_gpu_without_a_name_or_without_memory_is_listed_all_the_same():
    assert nvml.list_gpus(changed("nvmlDeviceGetName"))[0] == Gpu(0, "GPU-aa1", "GPU", 16 * GIB)
    assert nvml.list_gpus(changed("nvmlDeviceGetMemoryInfo"))[0] == Gpu(0, "GPU-aa1", "Fake GPU", None)


def test_a_gpu_in_mig_mode_is_replaced_by_its_mig_devices_and_numbers_go_on():
    library = FakeNvml(
        FakeGpu("GPU-a", mig=[FakeGpu("MIG-x"), FakeGpu("MIG-y")]), FakeGpu("GPU-b", mig=[]), FakeGpu("GPU-c")
    )
    assert [(gpu.index, gpu.uuid) for gpu in nvml.list_gpus(library)] == [(0, "MIG-x"), (1, "MIG-y"), (2, "GPU-c")]
    assert listed_uuids(changed("nvmlDeviceGetMaxMigDeviceCount", library=library)) == ["GPU-c"]


def test_a_gpu_that_will_be_in_mig_mode_only_after_a_restart_is_a_whole_gpu():
    library = FakeNvml(FakeGpu("GPU-a", mig=[FakeGpu("MIG-x")]))
    now_and_pending = [0, FakeNvml.NVML_DEVICE_MIG_ENABLE]
    assert listed_uuids(changed("nvmlDeviceGetMigMode", now_and_pending, library)) == ["GPU-a"]


def test_a_gpu_tells_its_memory_how_busy_it_is_and_its_processes():
    library = FakeNvml(FakeGpu("GPU-a", used=6 * GIB, busy=75, processes=[(os.getpid(), GIB), (NO_PID, None)]))
    usage = nvml.read_usage("GPU-a", library)
    assert (usage.total_bytes, usage.used_bytes, usage.free_bytes) == (16 * GIB, 6 * GIB, 10 * GIB)
    assert usage.utilization == 0.75
    own, hidden = usage.processes
    assert (own.used_bytes, own.name) == (GIB, Path("/proc/self/comm").read_text().strip())
    assert hidden == Process(NO_PID, None, None)


def test_an_idle_gpu_is_busy_for_no_part_of_the_time():
    assert nvml.read_usage("GPU-a", FakeNvml(FakeGpu("GPU-a", busy=0))).utilization == 0.0


@pytest.mark.parametrize(
    ("gpu", "utilization", "processes"),
    [
        (FakeGpu("GPU-a", busy=None), None, ()),
        (FakeGpu("GPU-a", processes=None), 0.5, ()),
        (FakeGpu("GPU-a", processes=[(NO_PID, NOT_AVAILABLE)]), 0.5, (Process(NO_PID, None, None),)),
        (FakeGpu("GPU-a", processes=[(NO_PID, 0)]), 0.5, (Process(NO_PID, 0, None),)),
        (FakeGpu("GPU-b", mig=[FakeGpu("MIG-a")]), None, ()),
    ],
)
def test_a_figure_that_a_gpu_does_not_give_is_none(gpu, utilization, processes):
    uuid = gpu.mig[0].uuid if gpu.mig else gpu.uuid
    usage = nvml.read_usage(uuid, FakeNvml(gpu))
    assert (usage.used_bytes, usage.utilization, usage.processes) == (2 * GIB, utilization, processes)


def test_memory_that_a_gpu_does_not_tell_is_none():
    usage = nvml.read_usage("GPU-b", changed("nvmlDeviceGetMemoryInfo"))
    assert (usage.total_bytes, usage.used_bytes, usage.free_bytes, usage.utilization) == (None, None, None, 0.5)


def test_a_gpu_that_is_gone_tells_nothing():
    assert nvml.read_usage("GPU-gone", FakeNvml(FakeGpu("GPU-a"))) == Usage()


def test_the_usage_of_one_process_is_found_by_its_id():
    usage = Usage(processes=(Process(7, 100, "a"), Process(8, None, "b")))
    assert (usage.used_by(7), usage.used_by(8), usage.used_by(9)) == (100, None, None)
