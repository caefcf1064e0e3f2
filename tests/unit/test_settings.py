"""What the environment says, and what is made of it."""

import os
from pathlib import Path

import pytest

import settings
from settings import GenremillError, Settings


@pytest.fixture
def environment(tmp_path, monkeypatch):
    """An environment without settings, in an empty working directory. Its changes are undone at the end."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("GENREMILL_")]:
        monkeypatch.delenv(name)
    settings.load.cache_clear()
    yield monkeypatch
    settings.load.cache_clear()


def test_data_is_where_programs_of_the_user_keep_theirs(environment, tmp_path):
    environment.setenv("XDG_DATA_HOME", str(tmp_path))
    assert Settings().data_dir == tmp_path / "genremill"
    environment.delenv("XDG_DATA_HOME")
    environment.setenv("HOME", str(tmp_path / "me"))
    assert Settings().data_dir == tmp_path / "me/.local/share/genremill"


def test_without_addresses_the_database_and_the_broker_are_in_the_data_folder(environment):
    environment.setenv("GENREMILL_DATA_DIR", "/data")
    assert Settings().database == "sqlite:////data/genremill.db"
    assert Settings().broker == "redis+socket:///data/redis.sock"
    environment.setenv("GENREMILL_DATABASE_URL", "postgresql://h/n")
    environment.setenv("GENREMILL_BROKER_URL", "redis://h/0")
    assert (Settings().database, Settings().broker) == ("postgresql://h/n", "redis://h/0")


def test_a_data_folder_may_be_relative_to_the_working_directory(environment, tmp_path):
    environment.setenv("GENREMILL_DATA_DIR", "data")
    assert Settings().database == f"sqlite:///{tmp_path}/data/genremill.db"


def test_a_socket_whose_path_would_be_too_long_is_in_the_folder_for_temporary_files(environment):
    longest = "/" + "d" * (settings.MAX_SOCKET_PATH_BYTES - len("//redis.sock"))
    environment.setenv("GENREMILL_DATA_DIR", longest)
    assert Settings().private_socket == Path(longest) / "redis.sock"
    environment.setenv("GENREMILL_DATA_DIR", longest + "d")
    elsewhere = Settings().private_socket
    assert len(os.fsencode(elsewhere)) < settings.MAX_SOCKET_PATH_BYTES
    environment.setenv("GENREMILL_DATA_DIR", longest + "e")
    assert Settings().private_socket != elsewhere


def test_cores_are_those_that_the_process_may_use_or_fewer(environment):
    environment.setattr(os, "sched_getaffinity", lambda process: set(range(8)))
    assert Settings().usable_cores == 8
    assert Settings(cores=3).usable_cores == 3
    assert Settings(cores=100).usable_cores == 8


def test_there_are_more_decode_processes_beside_a_gpu(environment):
    environment.setattr(os, "sched_getaffinity", lambda process: set(range(16)))
    assert Settings().decode_processes_for("cpu") == 16
    assert Settings().decode_processes_for("cuda:0") == 20
    assert Settings(decode_children=3).decode_processes_for("cuda:0") == 3


def test_roots_are_named_as_the_database_names_libraries(environment):
    environment.setenv("GENREMILL_ROOTS", '{"/srv/music/": "/mnt/nas", "/": "/host", "/a//": "b"}')
    assert Settings().roots == {"/srv/music": Path("/mnt/nas"), "/": Path("/host"), "/a": Path("b")}


def test_a_file_in_the_working_directory_has_settings_and_the_environment_goes_first(environment, tmp_path):
    (tmp_path / ".env").write_text("GENREMILL_MODEL=mine\nGENREMILL_LEASE_S=5\nOTHER=1\n")
    environment.setenv("GENREMILL_LEASE_S", "7")
    assert (settings.load().model, settings.load().lease_s) == ("mine", 7.0)


def test_settings_are_read_once(environment):
    before = settings.load()
    environment.setenv("GENREMILL_MODEL", "other")
    assert settings.load() is before


def test_values_of_a_command_line_are_in_force_here_and_in_processes_that_are_started(environment):
    environment.setenv("GENREMILL_AMP", "off")
    assert settings.override(device="cpu", amp="").device == "cpu"
    assert (settings.load().device, settings.load().amp) == ("cpu", "off")
    assert os.environ["GENREMILL_DEVICE"] == "cpu"
    before = settings.load()
    assert settings.override(device="") is before


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("GENREMILL_COVERAGE", "half"),
        ("GENREMILL_AMP", "fp8"),
        ("GENREMILL_EMBEDDINGS", "yes"),
        ("GENREMILL_VRAM_MARGIN_MIB", "-1"),
        ("GENREMILL_CORES", "-1"),
        ("GENREMILL_DECODE_CHILDREN", "-1"),
        ("GENREMILL_DECODE_DEADLINE_S", "0"),
        ("GENREMILL_DECODE_MEMORY_MIB", "255"),
        ("GENREMILL_JOB_TRACKS", "0"),
        ("GENREMILL_JOB_TRACKS", "1001"),
        ("GENREMILL_LEASE_S", "0.9"),
        ("GENREMILL_FLOWER_PORT", "0"),
        ("GENREMILL_FLOWER_PORT", "65536"),
        ("GENREMILL_METRICS_PORT", "-1"),
        ("GENREMILL_METRICS_PORT", "65536"),
        ("GENREMILL_LOG_LEVEL", "LOUD"),
    ],
)
def test_a_value_that_is_not_valid_is_refused_and_its_variable_named(environment, variable, value):
    environment.setenv(variable, value)
    with pytest.raises(GenremillError, match=f"{variable}='{value}' is not valid"):
        settings.load()


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("GENREMILL_DECODE_MEMORY_MIB", "256"),
        ("GENREMILL_JOB_TRACKS", "1"),
        ("GENREMILL_JOB_TRACKS", "1000"),
        ("GENREMILL_LEASE_S", "1"),
        ("GENREMILL_FLOWER_PORT", "1"),
        ("GENREMILL_METRICS_PORT", "65535"),
    ],
)
def test_the_smallest_and_largest_values_are_taken(environment, variable, value):
    environment.setenv(variable, value)
    assert str(getattr(settings.load(), variable.removeprefix("GENREMILL_").lower())).startswith(value)


def test_roots_that_are_not_json_are_refused(environment):
    environment.setenv("GENREMILL_ROOTS", "/music=/mnt")
    with pytest.raises(GenremillError, match="roots"):
        settings.load()


def test_defaults_are_those_of_the_documentation(environment):
    found = {name: value for name, value in Settings().model_dump().items() if name != "data_dir"}
    assert found == {
        "database_url": "", "broker_url": "", "model": "musicnn", "coverage": "regions", "device": "auto",
        "amp": "auto", "embeddings": "auto", "vram_margin_mib": 256, "cores": 0, "decode_children": 0,
        "decode_deadline_s": 60.0, "decode_memory_mib": 1024, "job_tracks": 64, "queue_low": 1000, "queue_high": 4000,
        "lease_s": 60.0, "roots": {}, "flower_address": "127.0.0.1", "flower_port": 5555,
        "metrics_address": "127.0.0.1", "metrics_port": 0, "log_level": "INFO",
    }  # fmt: skip


def test_every_setting_has_a_description():
    assert [name for name, field in Settings.model_fields.items() if not field.description] == []


def test_the_host_has_a_name():
    assert settings.host()


def test_the_marks_of_a_queue_have_to_be_in_their_order(environment):
    environment.setenv("GENREMILL_QUEUE_LOW", "4000")
    assert settings.load().queue_high == 4000
    environment.setenv("GENREMILL_QUEUE_LOW", "4001")
    settings.load.cache_clear()
    with pytest.raises(GenremillError, match=r"GENREMILL_QUEUE_HIGH=4000 is not valid.* less than GENREMILL_QUEUE_LOW"):
        settings.load()
    environment.setenv("GENREMILL_QUEUE_HIGH", "4001")
    assert (settings.load().queue_low, settings.load().queue_high) == (4001, 4001)
