"""Weights are fetched from Hugging Face, verified and imported. (Acceptance tests do so with a real server.)"""

from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace

import huggingface_hub
import pytest
import torch

from settings import GenremillError
from worker.models import checkpoints, registry, weight_import
from worker.models.registry import ModelEntry


@pytest.fixture
def hub(tiny, data_dir, tmp_path, monkeypatch):
    """A hub that has published the weights of `tiny`, a model that it is built in for the test."""
    entry = ModelEntry("tiny", data_dir / "models" / "tiny.py", "1", published=("someone/tiny", "weights/save.pt"))
    monkeypatch.setitem(registry.BUILT_IN, "tiny", entry)
    torch.save(tiny, tmp_path / "save.pt")
    content = (tmp_path / "save.pt").read_bytes()
    hub = SimpleNamespace(content=content, etag=sha256(content).hexdigest(), error=None)

    def get_metadata(url: str) -> SimpleNamespace:
        assert url.endswith("/someone/tiny/resolve/main/weights/save.pt")
        if hub.error:
            raise hub.error
        return SimpleNamespace(etag=hub.etag)

    def download(repository: str, file: str, local_dir: Path) -> str:
        assert repository == "someone/tiny"
        path = local_dir / file
        path.parent.mkdir(parents=True)
        path.write_bytes(hub.content)
        return str(path)

    monkeypatch.setattr(huggingface_hub, "get_hf_file_metadata", get_metadata)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    return hub


def files_of(data_dir: Path) -> list[str]:
    return sorted(path.name for path in data_dir.rglob("*") if path.is_file())


def test_fetched_weights_are_imported_and_the_download_is_removed(hub, data_dir):
    result = weight_import.fetch_weights("tiny")
    assert result.checkpoint == checkpoints.find_checkpoint("tiny")
    assert (result.classes, result.left_out) == (3, 0)
    assert files_of(data_dir) == [result.checkpoint.path.name, "tiny.py"]
    assert not (data_dir / "models" / "downloads").exists()


def test_a_download_that_is_not_as_promised_is_deleted_and_nothing_is_stored(hub, data_dir):
    hub.etag = "0" * 64
    actual = sha256(hub.content).hexdigest()[:12]
    with pytest.raises(GenremillError) as raised:
        weight_import.fetch_weights("tiny")
    assert str(raised.value) == f"save.pt arrived damaged (sha256 {actual}, not 000000000000): fetch it again"
    assert files_of(data_dir) == ["tiny.py"]


@pytest.mark.parametrize("etag", [None, "", "0" * 40, "0" * 65, "x" + "0" * 63])
def test_a_server_that_promises_no_sha256_is_believed(hub, etag):
    hub.etag = etag
    assert weight_import.fetch_weights("tiny").classes == 3


@pytest.mark.parametrize(
    ("error", "reason"), [(OSError("no route\nto the host"), "no route"), (TimeoutError(), "TimeoutError")]
)
def test_a_fetch_that_fails_is_told_in_one_line(hub, data_dir, error, reason):
    hub.error = error
    with pytest.raises(GenremillError) as raised:
        weight_import.fetch_weights("tiny")
    assert f"save.pt cannot be fetched: {reason} (run it again, or see HF_ENDPOINT)" in str(raised.value)
    assert files_of(data_dir) == ["tiny.py"]


def test_a_model_without_published_weights_cannot_be_fetched():
    with pytest.raises(GenremillError, match="the model musicnn has no published weights"):
        weight_import.fetch_weights("musicnn")
