"""Who may import whom. The design's rules, read from the code itself."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PARTS = ("settings", "db", "producer", "worker", "console", "local", "cli", "doctor", "sample")
COMMANDS = {  # these stand beside cli, above all parts
    "db.__main__", "producer.__main__", "worker.__main__", "worker.bench.__main__"
}  # fmt: skip

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
    "worker.adts": set(),
    "worker.mixing": set(),
    "worker.readers": {"worker.errors", "worker.adts", "worker.mixing"},
    "worker.mp3_frames": set(),
    "worker.mpeg": {"worker.mixing", "worker.mp3_frames", "worker.readers"},
    "worker.native": {"worker.cut", "worker.readers"},
    "worker.decode": {
        "worker.errors",
        "worker.cut",
        "worker.mixing",
        "worker.mpeg",
        "worker.native",
        "worker.readers",
    },
    "worker.decode_child": {"worker.errors", "worker.cut", "worker.decode"},
    "worker.child_process": {"worker.decode_child"},
    "worker.ahead": {"worker.cut"},
    "worker.children": {
        "worker.errors",
        "worker.ahead",
        "worker.cut",
        "worker.decode",
        "worker.decode_child",
        "worker.child_process",
    },
    "worker.models": {"settings"},
    "worker.precision": set(),
    "worker.models.musicnn": {"worker.features", "worker.precision"},
    "worker.models.ccmusic": {"worker.image", "worker.precision"},
    "worker.models.vit": {"worker.features", "worker.models.ccmusic"},
    "worker.models.vgg": {"worker.cqt", "worker.models.ccmusic"},
    "worker.checkpoints": {"settings", "worker.models", "worker.precision", "worker.cut"},
    "worker.weights": {"settings", "worker.models", "worker.checkpoints"},
    "worker.batching": set(),
    "worker.tickets": {"worker.errors", "worker.cut"},
    "worker.batch": {"worker.cut", "worker.resample", "worker.tickets"},
    "worker.device": {"worker.batch", "worker.checkpoints", "worker.batching"},
    "worker.probe": {
        "worker.batch",
        "worker.batching",
        "worker.checkpoints",
        "worker.cut",
        "worker.device",
        "worker.nvml",
    },
    "worker.engine": {
        "worker.errors",
        "worker.batch",
        "worker.checkpoints",
        "worker.cut",
        "worker.batching",
        "worker.device",
        "worker.probe",
        "worker.tickets",
    },
    "worker.replay": {"worker.errors", "worker.children", "worker.engine", "worker.tickets"},
    "worker.seeded": {"worker.models", "worker.checkpoints"},
    "worker.naive": {"worker.cut", "worker.checkpoints"},
    "worker.bench": set(),
    "worker.bench.codecs": set(),
    "worker.bench.decoding": {"settings", "worker.children", "worker.cut", "worker.decode", "worker.errors"},
    "worker.bench.memory": {"worker.nvml"},
    "worker.bench.subject": {
        "settings",
        "worker.cut",
        "worker.checkpoints",
        "worker.seeded",
        "worker.engine",
        "worker.bench.memory",
    },
    "worker.bench.batches": {
        "worker.batch",
        "worker.batching",
        "worker.device",
        "worker.checkpoints",
        "worker.bench.memory",
        "worker.bench.subject",
    },
    "worker.bench.pipeline": {
        "settings",
        "worker.children",
        "worker.device",
        "worker.engine",
        "worker.tickets",
        "worker.errors",
        "worker.checkpoints",
        "worker.bench.subject",
    },
    "worker.bench.files": {
        "settings",
        "worker.naive",
        "worker.checkpoints",
        "worker.bench.memory",
        "worker.bench.subject",
        "worker.bench.pipeline",
    },
    "worker.bench.soak": {
        "settings",
        "worker.engine",
        "worker.tickets",
        "worker.bench.batches",
        "worker.bench.memory",
        "worker.bench.subject",
    },
    "worker.bench.plot": {"settings", "worker.bench.batches", "worker.bench.soak"},
    "worker.nvml": set(),
    "worker.signs": set(),
    "worker.metrics": set(),
    "worker.telemetry": {"settings", "worker.nvml", "worker.signs", "worker.batching", "worker.metrics"},
    "worker.gpu_view": {"worker.celery", "worker.nvml", "worker.signs", "worker.telemetry"},
    "worker.celery": {"settings", "worker.pool", "worker.telemetry"},
    "worker.pool": {"worker.celery"},
    "worker.launch": {"settings", "worker.celery", "worker.nvml"},
    "worker.writer": {"db"},
    "worker.track_run": {
        "db",
        "worker.children",
        "worker.tickets",
        "worker.engine",
        "worker.errors",
        "worker.replay",
        "worker.writer",
    },
    "worker.station": {
        "settings",
        "db",
        "worker.batching",
        "worker.checkpoints",
        "worker.children",
        "worker.cut",
        "worker.device",
        "worker.engine",
        "worker.pool",
        "worker.telemetry",
        "worker.track_run",
        "worker.writer",
    },
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
        ("worker.celery", "pynvml"),
        ("worker.celery", "prometheus_client"),
        ("worker.gpu_view", "torch"),
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
