"""Who may import whom. The design's rules, read from the code itself."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PARTS = ("settings", "db", "producer", "worker", "console", "local", "cli", "doctor", "sample")
COMMANDS = {"db.__main__", "producer.__main__", "worker.__main__"}  # these stand beside cli, above all parts

MAY_IMPORT = {
    "settings": set(),
    "db": {"settings", "db"},
    "producer": {"settings", "db", "producer", "worker.celery", "worker.checkpoints"},
    "worker": {"settings", "db", "worker"},
}
INSIDE_WORKER = {
    "worker.errors": set(),
    "worker.features": {"worker.errors"},
    "worker.resample": set(),
    "worker.cqt": {"worker.resample"},
    "worker.jpeg": set(),
    "worker.image": {"worker.jpeg", "worker.picture_kernels"},
    "worker.picture_kernels": set(),
    "worker.cut": set(),
    "worker.readers": {"worker.errors"},
    "worker.decode": {"worker.errors", "worker.cut", "worker.readers"},
    "worker.decode_child": {"worker.errors", "worker.cut", "worker.decode"},
    "worker.child_process": {"worker.decode_child"},
    "worker.children": {"worker.errors", "worker.cut", "worker.decode", "worker.decode_child", "worker.child_process"},
    "worker.models": {"settings"},
    "worker.models.musicnn": {"worker.features"},
    "worker.models.ccmusic": {"worker.image"},
    "worker.models.vit": {"worker.features", "worker.models.ccmusic"},
    "worker.models.vgg": {"worker.cqt", "worker.models.ccmusic"},
    "worker.checkpoints": {"settings", "worker.models"},
    "worker.weights": {"settings", "worker.models", "worker.checkpoints"},
    "worker.engine": {"worker.errors", "worker.checkpoints"},
    "worker.replay": {"worker.errors", "worker.children", "worker.engine"},
    "worker.celery": {"settings", "worker.pool"},
    "worker.pool": {"worker.celery"},
    "worker.launch": {"settings", "worker.celery"},
    "worker.writer": {"db"},
    "worker.track_run": {"db", "worker.children", "worker.engine", "worker.errors", "worker.replay", "worker.writer"},
}


def modules():
    """Every module of the product, by its dotted name."""
    for path in sorted(ROOT.glob("**/*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        if parts[0] in PARTS and "migrations" not in parts:
            yield ".".join(part for part in parts if part != "__init__"), path


def imports(path: Path):
    """What a module imports of the product, by its dotted name, wherever the import stands."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [
                f"{node.module}.{a.name}" if is_module(f"{node.module}.{a.name}") else node.module for a in node.names
            ]
        else:
            continue
        yield from (name for name in names if name.split(".")[0] in PARTS)


def is_module(name: str) -> bool:
    path = ROOT.joinpath(*name.split("."))
    return path.with_suffix(".py").is_file() or (path / "__init__.py").is_file()


def allowed(name: str, may: set[str]) -> bool:
    return any(name == other or name.startswith(f"{other}.") for other in may)


MODULES = dict(modules())


def test_the_rules_speak_of_modules_that_exist():
    assert set(INSIDE_WORKER) <= set(MODULES)


@pytest.mark.parametrize("name", sorted(set(MODULES) - COMMANDS))
def test_a_part_imports_only_what_is_below_it(name):
    may = MAY_IMPORT.get(name.split(".")[0])
    if may is not None:
        assert [other for other in imports(MODULES[name]) if not allowed(other, may)] == []


@pytest.mark.parametrize("name", sorted(INSIDE_WORKER))
def test_inside_the_worker_data_flows_one_way(name):
    assert [other for other in imports(MODULES[name]) if not allowed(other, INSIDE_WORKER[name])] == []


@pytest.mark.parametrize(
    "module, absent",
    [
        ("producer.follow", "torch"),
        ("producer.follow", "librosa"),
        ("worker.celery", "torch"),
        ("worker.celery", "sqlalchemy"),
        ("worker.decode_child", "torch"),
        ("worker.decode_child", "av"),
        ("worker.decode_child", "celery"),
        ("local", "torch"),
        ("cli", "torch"),
    ],
)
def test_importing_stays_light(module, absent):
    code = f"import sys, {module}; sys.exit({absent!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0
