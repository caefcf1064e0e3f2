"""Who may import whom: the rules of docs/architecture.md, read from the code itself."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from tests.support.paths import ROOT

# Each part may import what stands in the lines below its own.
PARTS = (
    {"benchmarks", "tests"},
    {"genremill"},
    {"producer"},
    {"worker"},
    {"db"},
    {"settings"},
)
PARTS_OF_WORKER = (
    {"consumer", "supervisor", "celery_command"},
    {"tasks"},
    {"jobs", "celery"},
    {"monitoring"},
    {"inference"},
    {"models", "decode"},
    {"features"},
    {"gpu"},
    {"errors", "windowing", "shutdown", "exit_codes", "python_process", "whole_file"},
)
EXCEPTIONS = {("producer.__main__", "genremill.cli")}
PRODUCER_TAKES_OF_WORKER = {"worker.celery", "worker.models.registry", "worker.models.checkpoints"}
FORBIDDEN = {  # library -> the only places that may import it
    "rich": {"genremill", "benchmarks", "tests"},
    "typer": {"genremill", "benchmarks", "tests"},
    "celery": {
        *(
            "worker.celery",
            "worker.tasks",
            "worker.consumer",
            "worker.jobs",
            "worker.monitoring",
            "worker.shutdown",
            "worker.celery_command",
        ),
        *("producer", "genremill", "benchmarks", "tests"),
    },
    "torch": {
        *("worker.features", "worker.models", "worker.inference", "worker.monitoring.telemetry"),
        *("genremill.bench", "benchmarks", "tests"),
    },
    "db": {"db", "producer", "worker.tasks", "worker.jobs", "genremill", "benchmarks", "tests"},
}


def find_modules() -> dict[str, Path]:
    """Every module of the project, by its dotted name."""
    found = {}
    for part in set().union(*PARTS):
        for path in [ROOT / f"{part}.py", *(ROOT / part).rglob("*.py")]:
            if path.is_file() and "migrations" not in path.parts:
                names = path.relative_to(ROOT).with_suffix("").parts
                found[".".join(name for name in names if name != "__init__")] = path
    return found


MODULES = find_modules()


def read_imports(name: str) -> Iterator[str]:
    """The dotted names that a module imports, wherever in it the import stands."""
    for node in ast.walk(ast.parse(MODULES[name].read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner in MODULES else node.module


IMPORTS = {name: set(read_imports(name)) for name in MODULES}


def is_in(name: str, places: set[str]) -> bool:
    return any(name == place or name.startswith(f"{place}.") for place in places)


def floor(part: str, layers: tuple[set[str], ...]) -> int:
    return next(number for number, parts in enumerate(layers) if part in parts)


def looks_up(part: str, other: str, layers: tuple[set[str], ...]) -> bool:
    """Whether the other part is not below this one."""
    return part != other and floor(other, layers) <= floor(part, layers)


@pytest.mark.parametrize("name", MODULES)
def test_a_part_imports_only_what_is_below_it(name):
    own = [other for other in IMPORTS[name] if other in MODULES and (name, other) not in EXCEPTIONS]
    part = name.split(".")[0]
    assert [other for other in own if looks_up(part, other.split(".")[0], PARTS)] == []
    if part == "worker" and name != "worker":
        inner = [other for other in own if other.startswith("worker.")]
        assert [o for o in inner if looks_up(name.split(".")[1], o.split(".")[1], PARTS_OF_WORKER)] == []
    if part == "producer":
        assert [o for o in own if o.startswith("worker") and o not in PRODUCER_TAKES_OF_WORKER] == []


@pytest.mark.parametrize("name", MODULES)
def test_a_library_is_used_only_where_it_belongs(name):
    libraries = {other.split(".")[0] for other in IMPORTS[name]}
    assert [library for library in libraries & set(FORBIDDEN) if not is_in(name, FORBIDDEN[library])] == []


def test_nobody_imports_a_main():
    assert [(name, other) for name, others in IMPORTS.items() for other in others if other.endswith("__main__")] == []


def test_there_is_no_circle():
    graph = {name: {other for other in others if other in MODULES} for name, others in IMPORTS.items()}
    try:
        list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


HEAVY = ("torch", "librosa", "matplotlib", "av")
LIGHT = {
    "producer.follow": HEAVY,
    "producer.enqueue": HEAVY,
    "worker.celery": (*HEAVY, "sqlalchemy", "pynvml", "prometheus_client"),
    "worker.supervisor": HEAVY,
    "worker.decode.child": (*HEAVY, "celery", "sqlalchemy"),
    "genremill.gpu_view": HEAVY,
    "genremill.local_stack": HEAVY,
    "genremill.cli": (*HEAVY, "celery", "sqlalchemy", "numpy"),
}


@pytest.mark.parametrize("name", LIGHT)
def test_importing_stays_light(name):
    code = f"import sys, {name}; sys.exit(', '.join({set(LIGHT[name])} & set(sys.modules)) or 0)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
