"""`genremill models`, and runs with the published networks and with a model of one's own."""

import io
import itertools
import json
import shutil
from pathlib import Path

import av
import librosa
import numpy as np
import pytest
import soundfile
import soxr
import torch

from genremill.bench import naive
from genremill.bench.random_weights import seeded_state
from tests.acceptance.person import Person
from tests.support.hub import Hub, serving
from tests.support.own_model import write_own_model
from worker.models import checkpoints
from worker.models.networks import vgg, vit
from worker.models.networks.ccmusic import HOP, SAMPLE_RATE, WINDOW_S
from worker.windowing import Windowing

TRACKS = (
    "Clara Voss/Nachtstücke/03 Toccata.wav",
    "Lowtide/Undertow/02 Slack Water.flac",
    "The Corner Table/Late Set/03 Orla.ogg",
    "Ironpress/Anvil/01 Slag.mp3",
    "Hazel & Rowan/Hedgerow/03 Ridge Road.m4a",
)
NETWORKS = {"vit_b_16_mel": ("mel", vit), "vgg19_bn_cqt": ("cqt", vgg)}  # The spectrogram and the module of a model.
PUBLISHED_PATH = "/ccmusic-database/music_genre/resolve/main/vgg19_bn_cqt/save.pt"  # Of the weights on Hugging Face.


@pytest.fixture
def person(tmp_path):
    return Person(tmp_path, {"HF_HOME": str(tmp_path / "hub"), "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"})


@pytest.fixture(scope="module")
def music(library, tmp_path_factory):
    """A few tracks of the sample library, one of each codec."""
    root = tmp_path_factory.mktemp("music")
    for track in TRACKS:
        shutil.copy(library / track, root)
    return root


def list_stored(person) -> list[str]:
    """The names of the files in the models' folder."""
    return [path.name for path in (person.home / "data" / "models").glob("*")]


def read_waveform(path: Path) -> np.ndarray:
    """A file's samples (samples,), mono, at SAMPLE_RATE."""
    if path.suffix == ".m4a":
        with av.open(str(path)) as container:
            rate = container.streams.audio[0].rate
            samples = np.concatenate([frame.to_ndarray() for frame in container.decode(audio=0)], axis=1).T
    else:
        samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    return soxr.resample(samples.mean(1), rate, SAMPLE_RATE, "HQ").astype(np.float32)


def cut_as_published(spectrogram: np.ndarray, samples: int) -> list[np.ndarray]:
    """The windows of a whole track's spectrogram (bins, frames), as the published code cuts them.

    `samples` is the length of the track.
    """
    frames = spectrogram.shape[1]
    step = int(WINDOW_S * frames / (samples / SAMPLE_RATE))
    count = frames // step
    first = (frames - count * step) // 2
    return [spectrogram[:, start : start + step] for start in range(first, first + count * step, step)]


def predict_as_published(model: str, network, path: Path, coverage: str) -> np.ndarray:
    """A track's probabilities (labels,), with librosa, matplotlib and PIL."""
    spectrogram, module = NETWORKS[model]
    samples = read_waveform(path)
    power = naive.power(spectrogram, samples)
    if coverage == "full":
        windows = cut_as_published(librosa.power_to_db(power, ref=np.max), len(samples))
    else:
        windowing = Windowing(SAMPLE_RATE, module.WINDOW, hop=HOP)
        positions = itertools.chain(*windowing.regions(len(samples)))
        if len(samples) < 3 * windowing.stride:
            positions = itertools.islice(windowing.contiguous(), len(samples) // windowing.stride)
        starts = [(position.start + windowing.context) // HOP for position in positions]
        windows = [librosa.power_to_db(power[:, start : start + windowing.frames], ref=np.max) for start in starts]
    pictures = np.stack([naive.draw(window) for window in windows])
    with torch.inference_mode():
        return network.logits(torch.from_numpy(pictures) * 2 - 1).softmax(1).mean(0).numpy()


@pytest.mark.parametrize(
    ("model", "coverage"), [("vgg19_bn_cqt", "regions"), ("vgg19_bn_cqt", "full"), ("vit_b_16_mel", "regions")]
)
def test_a_run_gives_the_probabilities_of_the_published_pipeline(person, music, model, coverage):
    module = NETWORKS[model][1]
    state = seeded_state(module)
    torch.save(state, person.home / "save.pt")
    assert "16 classes" in person.run("models", "import", "save.pt")
    (person.home / "save.pt").unlink()
    counts = person.analyse(str(music), "--model", model, "--coverage", coverage)
    assert (counts["found"], counts["done"]) == (len(TRACKS), len(TRACKS))
    network = checkpoints.build_with_weights(module, state)
    names = [name for name, _ in module.LABELS]
    expected = {path: predict_as_published(model, network, path, coverage) for path in sorted(music.iterdir())}
    assert np.ptp(list(expected.values()), axis=0).max() > 0.03  # The network tells the tracks apart.
    for path, probabilities in expected.items():
        stored = dict(person.query(f"SELECT genre, probability FROM track_genre WHERE path = '{path}'"))
        assert np.abs([stored[name] for name in names] - probabilities).max() < 0.01, path.name
        assert sum(stored.values()) == pytest.approx(1, abs=1e-5)


def test_without_weights_it_says_what_to_do_and_writes_nothing(person, music):
    printed = person.run("run", str(music), "--model", "vgg19_bn_cqt", code=2)
    assert "genremill models fetch vgg19_bn_cqt" in printed
    assert "genremill models import" in printed
    assert not (person.home / "data").exists()


def test_a_model_of_ones_own_is_used_like_the_others(person, music):
    write_own_model(person.home / "data")
    assert "import FILE --model tiny" in person.run("run", str(music), "--model", "tiny", code=2)
    weights = {"out.weight": torch.tensor([[90.0, 0.0], [0.0, 90.0], [-9.0, -9.0]]), "out.bias": torch.zeros(3)}
    torch.save(weights, person.home / "tiny.pt")
    person.run("models", "import", "tiny.pt", "--model", "tiny")
    listed = {row["model"]: row for row in person.read_json("models", "list")}
    assert listed["tiny"]["weights"]
    assert not listed["vit_b_16_mel"]["weights"]
    assert "fetch vit_b_16_mel" in listed["vit_b_16_mel"]["missing"]
    assert person.analyse(str(music), "--model", "tiny")["done"] == len(TRACKS)
    assert "model" not in person.run("genres")
    of_tiny = person.read_json("genres")
    assert {row["model"] for row in of_tiny} == {"tiny"}
    assert person.analyse(str(music))["done"] == len(TRACKS)
    assert {row["model"] for row in person.read_json("genres")} == {"musicnn"}  # A track's newest analysis counts.
    assert person.read_json("genres", "--model", "tiny") == of_tiny
    first = json.loads(person.run("results", "--format", "json", "--top", "1", "--model", "tiny"))
    assert [row["model"] for row in first] == ["tiny"] * len(TRACKS)
    rows = person.query("SELECT path, sum(probability), count(*) FROM track_tag WHERE model = 'tiny' GROUP BY path")
    assert len(rows) == len(TRACKS)
    assert all(total == pytest.approx(1) and count == 3 for _, total, count in rows)


def test_a_job_stays_held_while_its_model_is_loaded(person, music):
    module = write_own_model(person.home / "data")
    code = module.read_text()
    slow_code = code.replace("    return Tiny(", "    time.sleep(8)\n    return Tiny(")
    assert slow_code != code
    module.write_text(f"import time\n\n{slow_code}")
    torch.save({"out.weight": torch.ones(3, 2), "out.bias": torch.zeros(3)}, person.home / "tiny.pt")
    person.run("models", "import", "tiny.pt", "--model", "tiny")
    person.settings["GENREMILL_LEASE_S"] = "1"
    assert person.analyse(str(music), "--model", "tiny")["done"] == len(TRACKS)
    assert person.query("SELECT max(attempts) FROM job") == [(1,)]


@pytest.fixture(scope="module")
def published_file():
    """The bytes of a file of weights, as it is published."""
    file = io.BytesIO()
    torch.save(seeded_state(vgg, "plain"), file)
    return file.getvalue()


def test_weights_are_fetched_and_stored(person, published_file):
    with serving(Hub(PUBLISHED_PATH, published_file)) as hub:
        person.settings["HF_ENDPOINT"] = hub.address
        report = json.loads(person.run("models", "fetch", "vgg19_bn_cqt", "--json"))
    assert (report["model"], report["classes"]) == ("vgg19_bn_cqt", 16)
    assert list_stored(person) == [f"vgg19_bn_cqt.{report['weights']}.safetensors"]


def test_a_fetch_that_was_cut_off_goes_on_where_it_was(person, published_file):
    half = len(published_file) // 2
    with serving(Hub(PUBLISHED_PATH, published_file, stops_at=half)) as hub:
        person.settings["HF_ENDPOINT"] = hub.address
        process = person.start("models", "fetch", "vgg19_bn_cqt")
        _, err = process.communicate(timeout=100)
        if process.returncode:
            assert "again" in err
            person.run("models", "fetch", "vgg19_bn_cqt")
    starts = [int(asked.removeprefix("bytes=").partition("-")[0]) for asked in hub.ranges[1:] if asked]
    assert starts
    assert 0 < starts[0] <= half
    assert [name.split(".")[0] for name in list_stored(person)] == ["vgg19_bn_cqt"]


@pytest.mark.parametrize(
    "make_hub",
    [
        lambda content: Hub(PUBLISHED_PATH, content, promised="0" * 64),
        lambda content: Hub(PUBLISHED_PATH, content[: len(content) // 2]),
        lambda content: Hub("/elsewhere", content),
    ],
    ids=["another sha256", "half a file", "not there"],
)
def test_a_fetch_that_fails_stores_nothing(person, published_file, make_hub):
    with serving(make_hub(published_file)) as hub:
        person.settings["HF_ENDPOINT"] = hub.address
        lines = person.run("models", "fetch", "vgg19_bn_cqt", code=2).strip().splitlines()
    assert lines[-1].startswith("genremill: ")
    assert not [name for name in list_stored(person) if name.endswith(".safetensors")]


def test_a_fetch_without_a_server_is_one_line(person):
    person.settings["HF_ENDPOINT"] = "http://127.0.0.1:9"
    lines = person.run("models", "fetch", "vit_b_16_mel", code=2).strip().splitlines()
    assert lines[-1].startswith("genremill: http://127.0.0.1:9/")
    assert "HF_ENDPOINT" in lines[-1]
