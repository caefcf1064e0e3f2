"""Which devices workers are started for, by what a user asks for and by the GPUs that there are."""

import pytest

import settings
from settings import GenremillError
from tests.support.fake_nvml import GIB, FakeGpu, FakeNvml
from worker.gpu import nvml
from worker.gpu.devices import Device, choose_devices
from worker.gpu.nvml import Gpu

THREE_GPUS = FakeNvml(FakeGpu("GPU-aa1"), FakeGpu("GPU-aa2"), FakeGpu("GPU-b"))
GPUS_WITH_MIG = FakeNvml(
    FakeGpu("GPU-a", mig=[FakeGpu("MIG-x"), FakeGpu("MIG-y")]), FakeGpu("GPU-b"), FakeGpu("GPU-c", mig=[])
)


@pytest.fixture(autouse=True)
def every_gpu_is_visible(monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


def chosen_uuids(selection: str, library=THREE_GPUS) -> list[str]:
    return [device.visible for device in choose_devices(selection, nvml.list_gpus(library))]


@pytest.mark.parametrize(
    ("selection", "uuids"),
    [
        ("auto", ["GPU-aa1", "GPU-aa2", "GPU-b"]),
        ("cuda", ["GPU-aa1", "GPU-aa2", "GPU-b"]),
        ("cpu", [""]),
        ("cuda:2", ["GPU-b"]),
        ("cuda:2,0", ["GPU-b", "GPU-aa1"]),
        ("cuda:1,cuda:1", ["GPU-aa2"]),
        ("GPU-b", ["GPU-b"]),
        ("cuda:GPU-aa2,0, GPU-aa2", ["GPU-aa2", "GPU-aa1"]),
        ("2,GPU-b,cuda:GPU-b", ["GPU-b"]),
    ],
)
def test_gpus_are_chosen_by_number_and_by_uuid_each_once(selection, uuids):
    assert chosen_uuids(selection) == uuids


def test_a_gpu_in_mig_mode_is_replaced_by_its_mig_devices():
    devices = choose_devices("cuda", nvml.list_gpus(GPUS_WITH_MIG))
    assert [device.visible for device in devices] == ["MIG-x", "MIG-y", "GPU-b"]
    assert [device.node for device in devices] == [f"gpu{index}@{settings.host()}" for index in range(3)]
    assert {device.torch_name for device in devices} == {"cuda:0"}
    assert chosen_uuids("MIG-y,2", GPUS_WITH_MIG) == ["MIG-y", "GPU-b"]


def test_numbers_count_visible_gpus_and_a_node_keeps_the_hosts_number(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,1")
    first, second = choose_devices("cuda:1,0", nvml.list_gpus(THREE_GPUS))
    assert (first.visible, first.node, first.worker_index) == ("GPU-aa2", f"gpu1@{settings.host()}", 0)
    assert (second.visible, second.node, second.worker_index) == ("GPU-b", f"gpu2@{settings.host()}", 1)


def test_without_a_gpu_auto_is_the_cpu():
    (device,) = choose_devices("auto", [])
    assert device == Device(f"cpu@{settings.host()}", "cpu", visible="", gpu=None, worker_index=0, worker_count=1)


def test_the_cpu_is_chosen_without_asking_the_driver(monkeypatch):
    monkeypatch.setattr(nvml, "load_library", lambda: pytest.fail("the driver was asked"))
    assert [device.torch_name for device in choose_devices("cpu")] == ["cpu"]


@pytest.mark.parametrize(
    ("selection", "says"),
    [
        ("cuda:3", "there is no GPU cuda:3: use one of cuda:0 (Fake GPU, GPU-aa1), cuda:1"),
        ("0,7", "there is no GPU cuda:7"),
        ("GPU-c", "there is no GPU GPU-c"),
        ("MIG-x", "there is no GPU MIG-x"),
        ("GPU-aa", "GPU-aa1 or GPU-aa2"),
        ("gpu", "use auto, cpu, cuda"),
        ("cuda:", "use auto, cpu, cuda"),
        ("", "use auto, cpu, cuda"),
        ("cpu,0", "use auto, cpu, cuda"),
    ],
)
def test_what_cannot_be_chosen_is_one_line_that_says_what_there_is(selection, says):
    with pytest.raises(GenremillError) as raised:
        chosen_uuids(selection)
    assert says in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("selection", ["cuda", "0", "GPU-a"])
def test_a_gpu_is_asked_for_where_there_is_none(selection):
    with pytest.raises(GenremillError, match="no GPU can be used here"):
        choose_devices(selection, [])


def test_workers_that_start_together_share_the_cores_and_each_has_at_least_one(monkeypatch, data_dir):
    monkeypatch.setattr(settings.Settings, "usable_cores", 7)
    devices = choose_devices("cuda", nvml.list_gpus(THREE_GPUS))
    assert [(device.worker_index, device.worker_count, device.cores) for device in devices] == [
        (0, 3, 2),
        (1, 3, 2),
        (2, 3, 2),
    ]
    assert Device("gpu0@host", "cuda:0", "GPU-a", worker_count=8).cores == 1
    assert Device("cpu@host", "cpu", "").cores == 7


def test_a_workers_torch_sees_its_gpu_alone_and_reserves_memory_in_growing_segments(monkeypatch):
    monkeypatch.delenv("PYTORCH_CUDA_ALLOC_CONF", raising=False)
    device = Device("gpu0@host", "cuda:0", "GPU-a")
    assert device.environment == {
        "CUDA_VISIBLE_DEVICES": "GPU-a",
        "PYTORCH_CUDA_ALLOC_CONF": "expandable_segments:True",
    }
    monkeypatch.setenv("PYTORCH_CUDA_ALLOC_CONF", "max_split_size_mb:64")
    assert device.environment["PYTORCH_CUDA_ALLOC_CONF"] == "max_split_size_mb:64"


@pytest.mark.parametrize(
    ("device", "text"),
    [
        (Device("cpu@host", "cpu", ""), "cpu@host"),
        (Device("gpu1@host", "cuda:0", "GPU-a", Gpu(1, "GPU-a", "H100", 80 * GIB)), "gpu1@host (H100, 80.0 GiB)"),
        (Device("gpu1@host", "cuda:0", "GPU-a", Gpu(1, "GPU-a", "H100", None)), "gpu1@host (H100)"),
    ],
)
def test_a_device_is_shown_with_its_gpus_name_and_memory(device, text):
    assert str(device) == text
