"""docker-compose.yml, Dockerfile and .env.example against what they name: the specification, commands, settings, files.

tests/data/compose-spec.json is the schema of the compose specification (compose-spec/compose-spec, Apache-2.0),
unchanged, as the wheel check-jsonschema 0.39.0 ships it. No engine is needed, and none runs the file here.
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
from worker.supervisor import STOP_S

TEXT = (ROOT / "docker-compose.yml").read_text()
COMPOSE = yaml.safe_load(TEXT)
SERVICES = COMPOSE["services"]
SCHEMA = jsonschema.Draft202012Validator(json.loads((ROOT / "tests" / "data" / "compose-spec.json").read_text()))
DOCKERFILE = (ROOT / "Dockerfile").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
WORKERS = ("worker", "worker-gpu")


def words(command: str | list[str]) -> list[str]:
    """A command's words, with something in the place of variables."""
    parts = shlex.split(command) if isinstance(command, str) else command
    return [re.sub(r"\$\{[^}]*\}", "x", part) for part in parts]


def commands(program: str) -> list[list[str]]:
    """The services' commands that begin with this program."""
    given = [words(service.get("command", "")) for service in SERVICES.values()]
    return [command for command in given if command[:1] == [program]]


def copied() -> set[str]:
    """What the Dockerfile's COPY lines take from the repository."""
    return {name for line in re.findall(r"^COPY (.*)", DOCKERFILE, re.MULTILINE) for name in line.split()[:-1]}


def mounts(service: str) -> list[str]:
    """Where a service's volumes are mounted."""
    return [re.sub(r"\$\{[^}]*\}", "x", mount).split(":", 1)[1] for mount in SERVICES[service].get("volumes", [])]


def test_the_schema_is_one():
    SCHEMA.check_schema(SCHEMA.schema)
    assert "service" in SCHEMA.schema["$defs"]


def test_it_is_what_the_specification_allows():
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


def test_all_parts_are_there():
    assert set(SERVICES) == {"redis", "postgres", "producer", "worker", "worker-gpu", "flower"}
    assert "--appendonly yes --appendfsync everysec --maxmemory-policy noeviction" in SERVICES["redis"]["command"]
    assert any(word.startswith("--basic_auth=") for word in SERVICES["flower"]["command"])


def test_whoever_is_waited_for_has_a_healthcheck():
    awaited = {name for service in SERVICES.values() for name in service.get("depends_on", {})}
    assert awaited == {"redis", "postgres"}
    assert all("healthcheck" in SERVICES[name] for name in awaited)


@pytest.mark.parametrize("service", WORKERS)
def test_workers_see_the_music_where_the_producer_does(service):
    (music,) = [arguments[-1] for _, name, *arguments in commands("genremill") if name == "enqueue"]
    assert f"{music}:ro" in mounts(service)
    assert mounts(service) == mounts("producer")


@pytest.mark.parametrize("service", WORKERS)
def test_workers_have_time_to_stop(service):
    assert int(SERVICES[service]["stop_grace_period"].removesuffix("s")) > STOP_S


def test_genremills_commands_exist():
    found = commands("genremill")
    assert [name for _, name, *_ in found] == ["enqueue", "worker", "worker"]
    group = typer.main.get_command(cli.app)
    for _, name, *arguments in found:
        group.commands[name].make_context(name, arguments)


def test_flowers_options_exist():
    (command,) = commands("celery")
    assert command[1:4] == ["-A", "worker", "flower"]
    names = [word.removeprefix("--").split("=")[0] for word in command[4:]]
    assert names
    assert all(name in flower_options for name in names)


@pytest.mark.parametrize("service", WORKERS)
def test_the_workers_healthcheck_exists(service):
    program, app_option, app, name, *arguments = words(SERVICES[service]["healthcheck"]["test"])
    assert (program, app_option, app, name) == ("celery", "-A", "worker", "inspect")
    context = celery_command.commands[name].make_context(name, arguments)
    assert context.params["command"] == "ping"


def test_variables_are_settings():
    names = set(re.findall(r"GENREMILL_(\w+)", TEXT + DOCKERFILE))
    assert names == {"BROKER_URL", "DATABASE_URL", "DATA_DIR"}
    assert {name.lower() for name in names} <= set(Settings.model_fields)


def test_what_is_to_be_set_is_in_the_example():
    asked = set(re.findall(r"\$\{(\w+)", TEXT))
    given = set(re.findall(r"^(\w+)=", (ROOT / ".env.example").read_text(), re.MULTILINE))
    assert asked == given


def test_named_volumes_are_declared():
    sources = {mount.split(":")[0] for service in SERVICES.values() for mount in service.get("volumes", [])}
    assert {source for source in sources if re.fullmatch(r"\w+", source)} == set(COMPOSE["volumes"])


def test_what_the_image_copies_is_there_and_not_ignored():
    assert copied()
    assert all((ROOT / name).exists() for name in copied())
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert copied() == kept


def test_the_image_has_all_that_is_installed():
    setuptools = PROJECT["tool"]["setuptools"]
    assert {f"{module}.py" for module in setuptools["py-modules"]} <= copied()
    found = find_packages(str(ROOT), include=setuptools["packages"]["find"]["include"])
    packages = {name.split(".")[0] for name in found}
    assert {"db", "genremill", "producer", "worker"} == packages <= copied()
    assert {PROJECT["project"]["readme"], "requirements.lock", "pyproject.toml", "LICENSE"} <= copied()


def test_build_arguments_are_the_dockerfiles():
    taken = set(re.findall(r"^ARG (\w+)", DOCKERFILE, re.MULTILINE))
    given = [service["build"]["args"] for service in SERVICES.values() if isinstance(service.get("build"), dict)]
    assert given
    assert all(set(arguments) <= taken for arguments in given)


def test_entry_points_exist():
    scripts = PROJECT["project"]["scripts"]
    assert "genremill" in scripts
    for target in scripts.values():
        module, name = target.split(":")
        assert callable(getattr(importlib.import_module(module), name))
