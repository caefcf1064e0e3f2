"""What is measured: the model, its device, and the machine."""

from genremill.bench.target import Target, describe_machine, list_targets, load_target_model, windows_per_track


def test_weights_from_a_seed_are_used_where_there_are_none_and_never_stored(data_dir):
    model = load_target_model("vit_b_16_mel", Target("cpu"))
    assert model.checkpoint.sha256 == ""
    assert windows_per_track(model) == 3
    assert not data_dir.exists()


def test_a_gpu_is_measured_with_amp_too_and_a_cpu_is_not():
    assert [str(target) for target in list_targets("cpu")] == ["CPU"]
    assert [str(target) for target in list_targets("cuda:0")] == ["GPU", "GPU with AMP"]


def test_a_machine_without_a_gpu_is_described_by_its_cpu():
    machine = describe_machine("cpu")
    assert (machine["gpu"], machine["vram_mib"], machine["cuda"]) == (None, None, None)
    assert machine["cpu"]
    assert machine["cores"] >= 1
