"""Importing genremill takes the working directory off the search path for modules, and nothing else."""

import os
import shutil
import site
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from genremill import without_working_directory
from tests.support.paths import ROOT

SHOW_PATH = "import sys, genremill; print('\\n'.join(sys.path))"
SHOW_SETTINGS = "import genremill, settings; print(settings.__file__)"


def run_python(*arguments: str, cwd: Path, search_path: str = str(ROOT)) -> str:
    """What a Python process prints that begins in this folder, with this PYTHONPATH. The test fails if it fails."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"}
    process = subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        env={**environment, "PYTHONPATH": search_path},
        capture_output=True,
        text=True,
    )
    assert process.returncode == 0, process.stderr
    return process.stdout.strip()


@pytest.fixture
def foreign(tmp_path):
    """A folder of somebody else's, with modules that are named as some of genremill's."""
    folder = tmp_path / "project"
    folder.mkdir()
    for name in ("settings", "db", "worker", "producer", "typer"):
        (folder / f"{name}.py").write_text("raise SystemExit('foreign code')\n")
    return folder


@pytest.mark.parametrize("module", ["genremill", "producer"])
def test_python_m_imports_nothing_from_there(foreign, module):
    (foreign / f"{module}.py").unlink(missing_ok=True)  # Python itself would import this one before genremill.
    assert "Usage: genremill" in run_python("-m", module, "--help", cwd=foreign)


def test_python_c_imports_nothing_from_there(foreign):
    assert run_python("-c", SHOW_SETTINGS, cwd=foreign) == str(ROOT / "settings.py")


@pytest.mark.parametrize("entry", ["", ".", "{folder}", "{folder}/", "{folder}/../project", "{link}"])
def test_pythonpath_does_not_bring_the_folder_back(foreign, tmp_path, entry):
    link = tmp_path / "link"
    link.symlink_to(foreign)
    search_path = os.pathsep.join([entry.format(folder=foreign, link=link), str(ROOT)])
    assert run_python("-c", SHOW_SETTINGS, cwd=foreign, search_path=search_path) == str(ROOT / "settings.py")


def test_a_link_to_the_folder_is_the_folder(foreign, tmp_path):
    link = tmp_path / "link"
    link.symlink_to(foreign)
    search_path = os.pathsep.join([str(foreign), str(ROOT)])
    assert run_python("-c", SHOW_SETTINGS, cwd=link, search_path=search_path) == str(ROOT / "settings.py")


def test_other_folders_and_zip_files_of_pythonpath_stay(foreign, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    archive = tmp_path / "modules.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("zipped_module.py", "NAME = 'from the zip file'\n")
    missing = tmp_path / "missing.zip"
    search_path = os.pathsep.join(map(str, (other, archive, missing, ROOT)))
    code = f"{SHOW_PATH}; import zipped_module; print(zipped_module.NAME)"
    lines = run_python("-c", code, cwd=foreign, search_path=search_path).splitlines()
    assert lines[:4] == [str(other), str(archive), str(missing), str(ROOT)]
    assert lines[-1] == "from the zip file"


def test_a_working_directory_that_was_removed_does_no_harm(tmp_path):
    code = f"import os; os.mkdir('gone'); os.chdir('gone'); os.rmdir('../gone'); {SHOW_SETTINGS}"
    assert run_python("-c", code, cwd=tmp_path) == str(ROOT / "settings.py")
    begin_there = 'cd gone && rmdir ../gone && exec "$0" -m genremill --help'
    (tmp_path / "gone").mkdir()
    process = subprocess.run(
        ["sh", "-c", begin_there, sys.executable],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert (process.returncode, process.stderr) == (0, "")


def test_a_working_directory_that_cannot_be_read_does_no_harm(foreign):
    code = f"import os; os.chdir({str(foreign)!r}); os.chmod('.', 0); {SHOW_SETTINGS}"
    try:
        assert run_python("-c", code, cwd=ROOT.parent) == str(ROOT / "settings.py")
    finally:
        foreign.chmod(0o700)


def test_the_project_itself_may_be_the_working_directory():
    assert run_python("-c", SHOW_SETTINGS, cwd=ROOT, search_path="") == str(ROOT / "settings.py")


def test_an_installed_genremill_may_be_the_working_directory(tmp_path):
    installed = tmp_path / "site-packages"
    (installed / "genremill").mkdir(parents=True)
    shutil.copy(ROOT / "genremill" / "__init__.py", installed / "genremill")
    (installed / "settings.py").touch()
    assert run_python("-c", SHOW_SETTINGS, cwd=installed, search_path="") == str(installed / "settings.py")


@pytest.mark.parametrize("folder", [site.getsitepackages()[0], str(Path(os.__file__).parent)])
def test_pythons_own_folders_may_be_the_working_directory(folder):
    search_path = os.pathsep.join(["", str(ROOT)])
    assert "Usage: genremill" in run_python("-m", "genremill", "--help", cwd=Path(folder), search_path=search_path)


def test_a_process_that_is_started_from_here_leaves_it_out_too(foreign):
    child = "import subprocess, sys, genremill; print(subprocess.check_output([sys.executable, '-c', {!r}], text=True))"
    printed = run_python("-c", child.format("import sys; print(sys.flags.safe_path, '' in sys.path)"), cwd=foreign)
    assert printed == "True False"


def test_only_entries_before_the_standard_library_are_dropped(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    library = str(Path(os.__file__).parent)
    search_path = ["", str(tmp_path), "/elsewhere", library, str(tmp_path)]
    assert without_working_directory(search_path) == ["/elsewhere", library, str(tmp_path)]


def test_without_the_standard_library_every_entry_is_looked_at(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert without_working_directory(["/elsewhere", "", str(tmp_path)]) == ["/elsewhere"]
