"""Which models there are, and what a user's file must have to be one."""

import subprocess
import sys
from hashlib import sha256

import pytest

from settings import GenremillError
from tests.support.paths import ROOT
from worker.features.constant_q import ConstantQPower
from worker.features.picture import SpectrogramImage, decibels
from worker.models import registry
from worker.models.interface import REQUIRED_NAMES
from worker.models.registry import ModelEntry

COMPLETE = """
SAMPLE_RATE, WINDOW, LABELS, FEATURES = 8_000, 16_000, (("loud", "genre"),), {}
def build(state):
    raise NotImplementedError
"""


def write_model(data_dir, name: str, code: str = COMPLETE):
    path = data_dir / "models" / f"{name}.py"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(code)
    return path


def test_the_built_in_models_and_where_their_weights_are():
    entries = registry.BUILT_IN.values()
    assert [(entry.name, entry.version, entry.published) for entry in entries] == [
        ("musicnn", "1", None),
        ("vit_b_16_mel", "1", ("ccmusic-database/music_genre", "vit_b_16_mel/save.pt")),
        ("vgg19_bn_cqt", "1", ("ccmusic-database/music_genre", "vgg19_bn_cqt/save.pt")),
    ]
    assert [entry.shipped and entry.shipped.is_file() for entry in entries] == [True, None, None]


@pytest.mark.parametrize("name", registry.BUILT_IN)
def test_the_built_in_models_have_what_a_model_must_have(name):
    module = registry.import_model_module(registry.find_model(name))
    assert [required for required in REQUIRED_NAMES if not hasattr(module, required)] == []


@pytest.mark.parametrize("name", ["musicn", "", "Musicnn", "musicnn ", "../musicnn"])
def test_an_unknown_model_names_those_there_are(data_dir, name):
    write_model(data_dir, "mine")
    with pytest.raises(GenremillError, match=r"choose from: musicnn, vit_b_16_mel, vgg19_bn_cqt, mine$"):
        registry.find_model(name)


def test_a_users_models_are_listed_by_name_behind_the_built_in_ones(data_dir):
    for name in ("zeta", "a", "b9_x", "Upper", "9x", "_x", "a-b", "a.b"):
        write_model(data_dir, name)
    assert [entry.name for entry in registry.list_models()] == [*registry.BUILT_IN, "a", "b9_x", "zeta"]


def test_a_users_file_takes_no_built_in_models_place(data_dir):
    write_model(data_dir, "musicnn")
    assert registry.find_model("musicnn") is registry.BUILT_IN["musicnn"]
    assert registry.list_models() == list(registry.BUILT_IN.values())


def test_a_file_whose_name_is_no_models_name_is_not_found(data_dir):
    write_model(data_dir, "Upper")
    with pytest.raises(GenremillError, match="there is no model 'Upper'"):
        registry.find_model("Upper")


def test_the_version_of_a_users_model_is_the_sha256_of_its_file(data_dir):
    path = write_model(data_dir, "mine")
    expected = ModelEntry("mine", path, sha256(path.read_bytes()).hexdigest()[:12], shipped=None, published=None)
    assert registry.find_model("mine") == expected
    path.write_text(COMPLETE + "# another formula\n")
    assert registry.find_model("mine").version != expected.version


def test_a_users_model_is_imported_from_its_file(data_dir):
    path = write_model(data_dir, "mine", COMPLETE + "where, name = __file__, __name__\n")
    module = registry.import_model_module(registry.find_model("mine"))
    assert (module.SAMPLE_RATE, module.WINDOW) == (8_000, 16_000)
    assert (module.where, module.name) == (str(path), "genremill_model_mine")


@pytest.mark.parametrize("name", REQUIRED_NAMES)
def test_a_model_without_a_name_that_it_must_have_is_refused(data_dir, name):
    path = write_model(data_dir, "mine", COMPLETE + f"del {name}\n")
    with pytest.raises(GenremillError) as raised:
        registry.import_model_module(registry.find_model("mine"))
    assert str(raised.value) == f"{path} cannot be used as a model: it has no {name} (see docs/models.md)"


def test_a_models_own_error_is_told_in_one_line(data_dir):
    path = write_model(data_dir, "mine", "raise RuntimeError('no weights')")
    with pytest.raises(GenremillError) as raised:
        registry.import_model_module(registry.find_model("mine"))
    assert str(raised.value) == f"{path} cannot be used as a model: RuntimeError: no weights"


@pytest.mark.parametrize(
    "imports",
    [
        "from worker.features import ConstantQPower, SpectrogramImage, decibels",
        "from worker.cqt import ConstantQPower\nfrom worker.image import SpectrogramImage, decibels",
        "import worker.cqt as cqt, worker.image as image\n"
        "ConstantQPower, SpectrogramImage, decibels = cqt.ConstantQPower, image.SpectrogramImage, image.decibels",
        "from worker import cqt, image\n"
        "ConstantQPower, SpectrogramImage, decibels = cqt.ConstantQPower, image.SpectrogramImage, image.decibels",
    ],
)
def test_a_users_model_finds_features_in_the_package_and_in_their_earlier_places(data_dir, imports):
    write_model(data_dir, "mine", f"{imports}\nfrom worker.features import MelPower, mel_filters\n{COMPLETE}")
    module = registry.import_model_module(registry.find_model("mine"))
    assert (module.ConstantQPower, module.SpectrogramImage, module.decibels) == (
        ConstantQPower,
        SpectrogramImage,
        decibels,
    )


def test_naming_models_and_finding_their_weights_loads_no_torch():
    code = (
        "import sys; from worker.models import checkpoints, registry;"
        "registry.list_models(); checkpoints.find_checkpoint('musicnn'); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0
