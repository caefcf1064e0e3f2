"""How many small mistakes in the product the tests notice: python -m tests.robustness.mutants --seed 1 --count 100

A mutant is the product with one small mistake in it: a `<` that became `<=`, a number that is one more, a `not` that is
gone. Mutants are drawn at random from the modules below, each is tested in a copy of the project by the tests that
mirror its module, and one that passes them has survived. Ends with 1 when less than 90% die, or when a survivor is not
in equivalent_mutants.txt, which lists those that behave like the original, and why.
"""

import argparse
import ast
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from pathlib import Path

from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator, operator_names

from tests.support.paths import ROOT

MODULES = (
    *("db/*.py", "producer/*.py", "worker/windowing.py", "worker/decode/readers/*.py", "worker/decode/native.py"),
    *(
        "worker/decode/windows.py",
        "worker/inference/batch_size.py",
        "worker/inference/batch.py",
        "worker/inference/batch_starter.py",
    ),
    *("worker/inference/requests.py", "worker/models/weight_import.py", "worker/models/checkpoints.py"),
)
INTEGRATION = "tests/integration"
TESTS = {  # of each module; a file is in the first entry that matches its path
    "db/integrity.py": (f"{INTEGRATION}/test_integrity.py",),
    "db/jobs.py": tuple(f"{INTEGRATION}/test_{name}.py" for name in ("job_statements", "jobs", "lost_jobs", "follow")),
    "db/lost_jobs.py": tuple(f"{INTEGRATION}/test_{name}.py" for name in ("lost_jobs", "jobs", "reconcile")),
    "db/models.py": tuple(f"{INTEGRATION}/test_{name}.py" for name in ("runs", "jobs", "plan_statements", "reports")),
    "db/outcomes.py": tuple(f"{INTEGRATION}/test_{name}.py" for name in ("jobs", "job_statements", "runs", "reports")),
    "db/duplicates.py": tuple(f"{INTEGRATION}/test_{name}.py" for name in ("plan_statements", "runs", "plan_pages")),
    "db/pages.py": tuple(f"{INTEGRATION}/test_{name}.py" for name in ("plan_statements", "runs", "plan_pages")),
    "db/pending.py": tuple(f"{INTEGRATION}/test_{name}.py" for name in ("dispatch", "job_statements", "reconcile")),
    "db/plans.py": tuple(f"{INTEGRATION}/test_{name}.py" for name in ("plan_statements", "runs", "plan_pages")),
    "db/scores.py": tuple(f"{INTEGRATION}/test_{name}.py" for name in ("job_statements", "jobs", "reports")),
    "db/ranking.py": tuple(f"{INTEGRATION}/test_{name}.py" for name in ("job_statements", "jobs", "reports")),
    "db/filters.py": tuple(f"{INTEGRATION}/test_{name}.py" for name in ("filter", "reports")),
    "db/results.py": tuple(f"{INTEGRATION}/test_{name}.py" for name in ("filter", "reports")),
    "db/reports.py": tuple(f"{INTEGRATION}/test_{name}.py" for name in ("reports", "filter")),
    "db/revisions.py": (f"{INTEGRATION}/test_upgrade.py", f"{INTEGRATION}/test_migrations.py"),
    "db/runs.py": tuple(f"{INTEGRATION}/test_{name}.py" for name in ("runs", "plan_statements", "reports", "jobs")),
    "db/tracks.py": tuple(f"{INTEGRATION}/test_{name}.py" for name in ("track_statements", "scan")),
    "db/vacuum.py": (f"{INTEGRATION}/test_vacuum.py",),
    "db/*.py": ("tests/unit/db", INTEGRATION),
    "producer/dispatch.py": (f"{INTEGRATION}/test_dispatch.py",),
    "producer/enqueue.py": tuple(f"{INTEGRATION}/test_{name}.py" for name in ("dispatch", "runs", "scan")),
    "producer/follow.py": (f"{INTEGRATION}/test_follow.py", f"{INTEGRATION}/test_reconcile.py"),
    "producer/messages.py": (f"{INTEGRATION}/test_reconcile.py", f"{INTEGRATION}/test_follow.py"),
    "producer/plan.py": tuple(f"{INTEGRATION}/test_{name}.py" for name in ("plan_pages", "runs", "dispatch")),
    "producer/reconcile.py": (f"{INTEGRATION}/test_reconcile.py", f"{INTEGRATION}/test_lost_jobs.py"),
    "producer/scan.py": ("tests/unit/producer/test_scan.py", f"{INTEGRATION}/test_scan.py"),
    "producer/*.py": ("tests/unit/producer", f"{INTEGRATION}/test_scan.py"),
    "worker/decode/readers/*.py": ("tests/unit/worker/decode/readers", "tests/unit/worker/decode/test_windows.py"),
    "worker/decode/*.py": ("tests/unit/worker/decode",),
    "worker/inference/*.py": ("tests/unit/worker/inference", "tests/unit/worker/decode/test_native_on_device.py"),
    "worker/models/*.py": ("tests/unit/worker/models",),
    "worker/windowing.py": ("tests/unit/worker/test_windowing.py", "tests/unit/worker/decode/test_windows.py"),
}
EQUIVALENT = Path(__file__).with_name("equivalent_mutants.txt")
TIMEOUT_FACTOR = 4.0  # A mutant is noticed, too, when its tests take so many times longer than without it.
KILLED_SHARE = 0.9  # of all mutants that are not equivalent to the original


@dataclass(frozen=True)
class Mutant:
    """A module with one mistake in it."""

    path: str  # of the module, from the project's root
    operator: str  # cosmic-ray's name for the kind of mistake
    line: int
    before: str  # the line as it is, without its indentation
    after: str
    code: str  # the whole module

    def __str__(self) -> str:
        return f"{self.path}:{self.line}  {self.before}  =>  {self.after}"

    @property
    def key(self) -> str:
        """How equivalent_mutants.txt names it: without the line's number, which changes with every edit above it."""
        return f"{self.path} | {self.before} | {self.after}"


def main() -> int:
    """Draw mutants, test them, print those that survive. Returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1, help="chooses the mutants; default: 1")
    parser.add_argument("--count", type=int, default=100, help="how many; default: 100")
    parser.add_argument("--skip", type=int, default=0, help="how many to leave out before, to go on with a seed")
    parser.add_argument("--minutes", type=float, default=60.0, help="end after this time; default: 60")
    parser.add_argument("--module", default="", help="only modules whose path has this in it")
    options = parser.parse_args()
    mutants = list(islice(draw_mutants(options.seed, options.module), options.skip, options.skip + options.count))
    equivalent = read_equivalent()
    killed, survivors, known = 0, [], 0
    deadline = time.monotonic() + options.minutes * 60
    with tempfile.TemporaryDirectory(prefix="genremill-mutants-") as folder:
        project = copy_project(Path(folder))
        for number, mutant in enumerate(mutants, 1):
            if time.monotonic() > deadline:
                print(f"the time is over: {number - 1} of {len(mutants)} mutants were tested")
                break
            if mutant.key in equivalent:
                known += 1
                continue
            survived = survives(mutant, project, measure_tests(tests_of(mutant.path), project))
            killed += not survived
            survivors += [mutant] * survived
            print(f"{number}/{len(mutants)} {'SURVIVED' if survived else 'killed  '} {mutant}", flush=True)
    tested = killed + len(survivors)
    print(f"\nseed {options.seed}: {killed} of {tested} killed, {known} equivalent and not tested; survivors:")
    for mutant in survivors:
        print(f"  {mutant.key}")
    return int(bool(survivors) or killed < KILLED_SHARE * tested)


def read_equivalent() -> set[str]:
    """The keys of the mutants that behave like the original."""
    lines = EQUIVALENT.read_text().splitlines() if EQUIVALENT.is_file() else []
    return {line.rpartition(" | ")[0] for line in lines if line and not line.startswith("#")}


def draw_mutants(seed: int, module: str = "") -> Iterator[Mutant]:
    """Mutants without end: a module by its length, a kind of mistake, then a place for it, all by the seed."""
    chance = random.Random(seed)
    sources = {name: (ROOT / name).read_text() for name in find_modules() if module in name}
    families = group_operators()
    drawn = set()
    while True:
        (name,) = chance.choices(list(sources), [len(source) for source in sources.values()])
        operator = chance.choice(families[chance.choice(list(families))])
        places = count_places(sources[name], operator)
        place = chance.randrange(places) if places else None
        if place is not None and (name, operator, place) not in drawn:
            drawn.add((name, operator, place))
            mutant = make_mutant(name, operator, place)
            if mutant is not None:
                yield mutant


def find_modules() -> list[str]:
    """The paths of the modules, from the project's root."""
    paths = sorted({path for pattern in MODULES for path in ROOT.glob(pattern)})
    return [str(path.relative_to(ROOT)) for path in paths if path.name not in ("__init__.py", "__main__.py")]


def group_operators() -> dict[str, list[str]]:
    """cosmic-ray's operators that need no arguments, by what they replace."""
    families: dict[str, list[str]] = {}
    for name in sorted(operator_names()):
        if not get_operator(name).arguments():
            families.setdefault(name.split("_")[0], []).append(name)
    return families


def count_places(source: str, operator: str) -> int:
    """In how many places of a module an operator can make its mistake."""
    kind = get_operator(operator)()
    return sum(1 for node in parse(source) for _ in kind.mutation_positions(node))


@lru_cache
def parse(source: str) -> tuple:
    """The nodes of a module, as cosmic-ray sees them."""
    return tuple(ast_nodes(get_ast(source)))


def make_mutant(name: str, operator: str, occurrence: int) -> Mutant | None:
    """The mutant, or None where the mistake cannot be made, or changes nothing that is compared."""
    original = (ROOT / name).read_text()
    try:
        code = mutate_code(original, get_operator(operator)(), occurrence)
    except AttributeError:  # cosmic-ray cannot replace an exception whose name has a dot.
        return None
    if code is None or not differs(original, code):
        return None
    pairs = enumerate(zip(original.splitlines(), code.splitlines(), strict=False), 1)
    line, (before, after) = next((line, pair) for line, pair in pairs if pair[0] != pair[1])
    return Mutant(name, operator, line, before.strip(), after.strip(), code)


def differs(original: str, code: str) -> bool:
    """Whether the programs differ in what is compared; one that does not compile is no mutant."""
    try:
        return comparable(original) != comparable(code)
    except SyntaxError:
        return False


def comparable(code: str) -> str:
    """A program's syntax tree as text, without three things in which a mistake gives no wrong result.

    Annotations, and what is imported `if TYPE_CHECKING`, are for mypy. To import it always costs time and memory alone.
    Of a dataclass, `slots` saves memory, and `frozen` forbids what no code does. An object that is the key of a dict
    has to be frozen, too, but every test that has one would notice.
    """
    tree = ast.parse(code)
    for node in ast.walk(tree):
        for field in ("annotation", "returns"):
            if getattr(node, field, None) is not None:
                setattr(node, field, ast.Constant(None))
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            node.test = ast.Constant(None)
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "dataclass":
            node.keywords = [keyword for keyword in node.keywords if keyword.arg not in ("slots", "frozen")]
    return ast.dump(tree)


def copy_project(folder: Path) -> Path:
    """A copy of what git knows of the project, and of what is new in it."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    names = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split("\0")
    for name in names:
        if name and (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    return folder


def tests_of(path: str) -> tuple[str, ...]:
    """The tests that a module has."""
    return TESTS[next(pattern for pattern in TESTS if Path(path).match(pattern))]


@lru_cache
def measure_tests(tests: tuple[str, ...], project: Path) -> float:
    """Seconds that these tests take without a mistake. Raises RuntimeError when they do not pass then."""
    began = time.monotonic()
    output = project / "tests.log"
    if not pass_tests(tests, project, timeout_s=None, output=output):
        raise RuntimeError(f"the tests fail without a mutant: {' '.join(tests)}\n{output.read_text()[-5000:]}")
    return time.monotonic() - began


def survives(mutant: Mutant, project: Path, usual_s: float) -> bool:
    """Whether the tests of the mutant's module, which usually take so long, pass with it."""
    file = project / mutant.path
    original = file.read_text()
    file.write_text(mutant.code)
    try:
        return pass_tests(tests_of(mutant.path), project, TIMEOUT_FACTOR * usual_s + 30)
    finally:
        file.write_text(original)


def pass_tests(tests: tuple[str, ...], project: Path, timeout_s: float | None, output: Path = Path(os.devnull)) -> bool:
    """Whether these tests pass in the copy of the project. What they print goes into `output`."""
    folder = f"--basetemp={project}/.tests"  # Others that run tests at the same time would delete a shared one.
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", folder, *tests]
    environment = {**os.environ, "PYTHONPATH": str(project), "PYTHONDONTWRITEBYTECODE": "1"}
    with output.open("w") as file:
        process = subprocess.Popen(
            command, cwd=project, env=environment, stdout=file, stderr=subprocess.STDOUT, process_group=0
        )
    try:
        return process.wait(timeout_s) == 0
    except subprocess.TimeoutExpired:
        return False
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # whatever the tests started, too
        process.wait()


if __name__ == "__main__":
    sys.exit(main())
