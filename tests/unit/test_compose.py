"""docker-compose.yml against the compose specification, and against what its commands and variables must be.

tests/data/compose-spec.json is the schema of the compose specification (compose-spec/compose-spec, Apache-2.0), as it
stands in the wheel docker-compose 1.29.2. No engine is needed, and none runs the file here.
"""

import copy
import json
import re
import shlex
from pathlib import Path

import flower.options  # noqa: F401  (defines Flower's options)
import jsonschema
import pytest
import typer
import yaml
from tornado.options import options as flower_options

import cli
from settings import Settings

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docker-compose.yml").read_text()
COMPOSE = yaml.safe_load(TEXT)
SCHEMA = jsonschema.Draft201909Validator(json.loads((ROOT / "tests" / "data" / "compose-spec.json").read_text()))
DOCKERFILE = (ROOT / "Dockerfile").read_text()


def commands(program: str) -> list[list[str]]:
    """The words of the services' commands that begin with this program."""
    given = [service.get("command", "") for service in COMPOSE["services"].values()]
    words = [shlex.split(re.sub(r"\$\{[^}]*\}", "x", command)) for command in given]
    return [command for command in words if command[:1] == [program]]


def test_it_is_what_the_specification_allows():
    SCHEMA.validate(COMPOSE)


@pytest.mark.parametrize(
    "service, key, value",
    [
        ("redis", "comand", "x"),
        ("worker", "healthcheck", ["x"]),
        ("producer", "volumes", "music"),
        ("flower", "ports", 5),
    ],
)
def test_the_schema_finds_mistakes(service, key, value):
    broken = copy.deepcopy(COMPOSE)
    broken["services"][service][key] = value
    with pytest.raises(jsonschema.ValidationError):
        SCHEMA.validate(broken)


def test_all_parts_are_there():
    assert {"redis", "postgres", "producer", "worker", "flower"} <= set(COMPOSE["services"])
    assert "--appendonly yes" in COMPOSE["services"]["redis"]["command"]
    assert "--basic_auth=" in COMPOSE["services"]["flower"]["command"]


def test_genremills_commands_exist():
    found = commands("genremill")
    assert len(found) == 3
    group = typer.main.get_command(cli.app)
    for _, name, *arguments in found:
        command = group.commands[name]
        command.make_context(name, list(arguments))


def test_flowers_options_exist():
    (command,) = commands("celery")
    assert command[1:4] == ["-A", "worker", "flower"]
    names = [word.removeprefix("--").split("=")[0] for word in command[4:]]
    assert names and all(name in flower_options for name in names)


def test_variables_are_settings():
    names = set(re.findall(r"GENREMILL_(\w+)", TEXT + DOCKERFILE))
    assert names
    assert {name.lower() for name in names} <= set(Settings.model_fields)


def test_what_is_to_be_set_is_in_the_example():
    asked = set(re.findall(r"\$\{(\w+)", TEXT))
    given = set(re.findall(r"^(\w+)=", (ROOT / ".env.example").read_text(), re.MULTILINE))
    assert asked == given


def test_named_volumes_are_declared():
    mounts = [mount.split(":")[0] for service in COMPOSE["services"].values() for mount in service.get("volumes", [])]
    named = {mount for mount in mounts if re.fullmatch(r"\w+", mount)}
    assert named == set(COMPOSE["volumes"])


def test_the_image_has_all_that_is_installed():
    copied = {name for line in re.findall(r"^COPY (.*)", DOCKERFILE, re.MULTILINE) for name in line.split()[:-1]}
    assert all((ROOT / name).exists() for name in copied)
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert copied == kept
    modules = re.search(r"py-modules = (\[.*\])", (ROOT / "pyproject.toml").read_text()).group(1)
    assert {f"{name}.py" for name in json.loads(modules)} <= copied
