"""docker-compose.yml, Dockerfile and .env.example: what they name has to exist.

That is the compose specification, commands and options, settings, files and variables.

tests/data/compose-spec.json is the schema of the compose specification (compose-spec/compose-spec, Apache-2.0),
unchanged, as the wheel check-jsonschema 0.39.0 ships it. No container engine is needed.
"""

import copy
import importlib
import json
import re
import shlex
import tomllib

import flower.options  # noqa: F401  (defines Flower's options)
import jsonschema
import pytest
import typer
import yaml
from celery.bin.celery import celery as celery_command
from setuptools import find_packages
from tornado.options import options as flower_options

from genremill import cli
from settings import Settings
from tests.support.paths import ROOT
from worker.supervisor import STOP_TIMEOUT_S

TEXT = (ROOT / "docker-compose.yml").read_text()
COMPOSE = yaml.safe_load(TEXT)
SERVICES = COMPOSE["services"]
SCHEMA = jsonschema.Draft202012Validator(json.loads((ROOT / "tests" / "data" / "compose-spec.json").read_text()))
DOCKERFILE = (ROOT / "Dockerfile").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
WORKERS = ("worker", "worker-gpu")


def split_words(command: str | list[str]) -> list[str]:
    """The words of a command, with "x" in the place of variables."""
    parts = shlex.split(command) if isinstance(command, str) else command
    return [re.sub(r"\$\{[^}]*\}", "x", part) for part in parts]


def find_commands(program: str) -> list[list[str]]:
    """The words of the services' commands that run this program."""
    commands = [split_words(service.get("command", "")) for service in SERVICES.values()]
    return [command for command in commands if command[:1] == [program]]


def list_copied() -> set[str]:
    """The files and folders of the repository that the Dockerfile copies."""
    return {name for line in re.findall(r"^COPY (.*)", DOCKERFILE, re.MULTILINE) for name in line.split()[:-1]}


def list_mounts(service: str) -> list[str]:
    """Where a service's volumes are mounted in its container, with their options: "/music:ro"."""
    return [re.sub(r"\$\{[^}]*\}", "x", mount).split(":", 1)[1] for mount in SERVICES[service].get("volumes", [])]


def test_the_schema_of_the_specification_is_a_json_schema():
    SCHEMA.check_schema(SCHEMA.schema)
    assert "service" in SCHEMA.schema["$defs"]


def test_the_file_follows_the_specification():
    SCHEMA.validate(COMPOSE)


@pytest.mark.parametrize(
    ("service", "key", "value"),
    [
        ("redis", "comand", "x"),
        ("worker", "healthcheck", ["x"]),
        ("producer", "volumes", "music"),
        ("flower", "ports", 5),
        ("flower", "depends_on", {"redis": {"condition": "healthy"}}),
        ("worker-gpu", "deploy", {"resources": {"reservations": {"devices": [{"driver": "nvidia"}]}}}),
    ],
)
def test_the_schema_finds_mistakes(service, key, value):
    broken = copy.deepcopy(COMPOSE)
    broken["services"][service][key] = value
    with pytest.raises(jsonschema.ValidationError):
        SCHEMA.validate(broken)


def test_every_service_is_there_and_redis_keeps_jobs_and_flower_asks_for_a_password():
    assert set(SERVICES) == {"redis", "postgres", "producer", "worker", "worker-gpu", "flower"}
    assert "--appendonly yes --appendfsync everysec --maxmemory-policy noeviction" in SERVICES["redis"]["command"]
    assert any(word.startswith("--basic_auth=") for word in SERVICES["flower"]["command"])


def test_a_service_that_others_wait_for_has_a_healthcheck():
    waited_for = {name for service in SERVICES.values() for name in service.get("depends_on", {})}
    assert waited_for == {"redis", "postgres"}
    assert all("healthcheck" in SERVICES[name] for name in waited_for)


@pytest.mark.parametrize("service", WORKERS)
def test_a_worker_sees_the_music_where_the_producer_sees_it(service):
    (music,) = [arguments[-1] for _, name, *arguments in find_commands("genremill") if name == "enqueue"]
    assert f"{music}:ro" in list_mounts(service)
    assert list_mounts(service) == list_mounts("producer")


@pytest.mark.parametrize("service", ["producer", *WORKERS])
def test_what_cannot_work_here_is_not_started_again_for_ever(service):
    assert re.fullmatch(r"on-failure:\d+", SERVICES[service]["restart"])


@pytest.mark.parametrize("service", WORKERS)
def test_a_worker_has_time_to_stop(service):
    assert int(SERVICES[service]["stop_grace_period"].removesuffix("s")) > STOP_TIMEOUT_S


def test_the_commands_of_genremill_exist_and_take_their_arguments():
    found = find_commands("genremill")
    assert [name for _, name, *_ in found] == ["enqueue", "worker", "worker"]
    group = typer.main.get_command(cli.app)
    for _, name, *arguments in found:
        group.commands[name].make_context(name, arguments)


def test_the_options_of_flower_exist():
    (command,) = find_commands("celery")
    assert command[1:4] == ["-A", "worker", "flower"]
    names = [word.removeprefix("--").split("=")[0] for word in command[4:]]
    assert names
    assert all(name in flower_options for name in names)


@pytest.mark.parametrize("service", WORKERS)
def test_the_healthcheck_of_a_worker_is_a_command_of_celery(service):
    program, app_option, app, name, *arguments = split_words(SERVICES[service]["healthcheck"]["test"])
    assert (program, app_option, app, name) == ("celery", "-A", "worker", "inspect")
    context = celery_command.commands[name].make_context(name, arguments)
    assert context.params["command"] == "ping"


def test_the_variables_of_genremill_are_settings():
    names = set(re.findall(r"GENREMILL_(\w+)", TEXT + DOCKERFILE))
    assert names == {"BROKER_URL", "DATABASE_URL", "DATA_DIR"}
    assert {name.lower() for name in names} <= set(Settings.model_fields)


def test_the_variables_that_a_person_sets_are_in_the_example():
    used = set(re.findall(r"\$\{(\w+)", TEXT))
    in_example = set(re.findall(r"^(\w+)=", (ROOT / ".env.example").read_text(), re.MULTILINE))
    assert used == in_example


def test_named_volumes_are_declared():
    sources = {mount.split(":")[0] for service in SERVICES.values() for mount in service.get("volumes", [])}
    assert {source for source in sources if re.fullmatch(r"\w+", source)} == set(COMPOSE["volumes"])


def test_what_the_image_copies_exists_and_nothing_else_is_sent_to_the_engine():
    assert list_copied()
    assert all((ROOT / name).exists() for name in list_copied())
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert list_copied() == kept


def test_the_image_has_all_packages_that_are_installed():
    setuptools = PROJECT["tool"]["setuptools"]
    assert {f"{module}.py" for module in setuptools["py-modules"]} <= list_copied()
    found = find_packages(str(ROOT), include=setuptools["packages"]["find"]["include"])
    packages = {name.split(".")[0] for name in found}
    assert {"db", "genremill", "producer", "worker"} == packages <= list_copied()
    assert {PROJECT["project"]["readme"], "requirements.lock", "pyproject.toml", "LICENSE"} <= list_copied()


def test_the_build_arguments_are_those_of_the_dockerfile():
    declared = set(re.findall(r"^ARG (\w+)", DOCKERFILE, re.MULTILINE))
    given = [service["build"]["args"] for service in SERVICES.values() if isinstance(service.get("build"), dict)]
    assert given
    assert all(set(arguments) <= declared for arguments in given)


def test_the_entry_points_exist():
    scripts = PROJECT["project"]["scripts"]
    assert "genremill" in scripts
    for target in scripts.values():
        module, name = target.split(":")
        assert callable(getattr(importlib.import_module(module), name))
