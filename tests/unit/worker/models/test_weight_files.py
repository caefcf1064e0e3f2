"""Which files are read as weights, and that code in them is not run."""

import os
import pickle
from contextlib import suppress
from pathlib import Path
from random import Random

import pytest
import torch
from safetensors.torch import save_file

from settings import GenremillError
from tests.unit.worker.models.importing import refused, saved
from worker.models import weight_import


class RunsCode:
    """What a pickle must not be allowed to do."""

    def __init__(self, victim: Path):
        self.victim = victim

    def __reduce__(self):
        return os.mkdir, (str(self.victim),)


@pytest.mark.parametrize("write", [torch.save, lambda value, path: Path(path).write_bytes(pickle.dumps(value))])
def test_code_in_a_pickle_is_not_run(tiny, data_dir, tmp_path, write):
    write({**tiny, "surprise": RunsCode(tmp_path / "victim")}, tmp_path / "a.pt")
    assert "not run" in refused(data_dir, tmp_path / "a.pt", "tiny")
    assert not (tmp_path / "victim").exists()


@pytest.mark.parametrize("part", [0.0, 0.001, 0.3, 0.999])
@pytest.mark.parametrize("kind", ["torch", "safetensors"])
def test_a_truncated_file_is_refused(data_dir, vgg_state, tmp_path, kind, part):
    source = tmp_path / "a"
    torch.save(vgg_state, source) if kind == "torch" else save_file(vgg_state, source)
    os.truncate(source, int(source.stat().st_size * part))
    assert str(source) in refused(data_dir, source, "vgg19_bn_cqt")


@pytest.mark.parametrize("content", [None, {}, [torch.zeros(1)], {"out.weight": 3}, torch.zeros(3)])
def test_what_is_no_state_dict_is_refused(tiny, data_dir, tmp_path, content):
    source = saved(tmp_path / "a.pt", content) if content is not None else tmp_path / "none.pt"
    assert str(source) in refused(data_dir, source, "tiny")


@pytest.mark.parametrize("wrapper", ["state_dict", "model_state_dict", "model"])
def test_a_state_dict_is_found_where_training_scripts_put_it(tiny, tmp_path, wrapper):
    state = weight_import.read_state(saved(tmp_path / "a.pt", {"epoch": 3, wrapper: tiny}))
    assert state.keys() == tiny.keys()


def test_only_the_prefix_of_data_parallel_is_removed(tiny, tmp_path):
    state = {"module.module.a": torch.zeros(1), "a.module.b": torch.zeros(1), "modules.c": torch.zeros(1)}
    found = weight_import.read_state(saved(tmp_path / "a.pt", state))
    assert list(found) == ["module.a", "a.module.b", "modules.c"]


def test_a_file_that_cannot_be_read_is_told_by_the_systems_reason(tiny, data_dir, tmp_path):
    assert refused(data_dir, tmp_path, "tiny") == f"{tmp_path} cannot be read: Is a directory"
    assert refused(data_dir, tmp_path / "no.pt") == f"{tmp_path / 'no.pt'} cannot be read: No such file or directory"


@pytest.mark.parametrize("content", [b"", b"{", b"12345678", b"12345678{", b"\x80", b"\x80\x02", b"PK\x03\x04"])
def test_a_file_that_is_no_weights_is_told(tiny, data_dir, tmp_path, content):
    (tmp_path / "a").write_bytes(content)
    assert str(tmp_path / "a") in refused(data_dir, tmp_path / "a", "tiny")


@pytest.mark.parametrize("seed", range(20))
def test_a_file_with_wrong_bytes_is_told_or_its_weights_are_read(tiny, tmp_path, seed):
    torch.save(tiny, tmp_path / "a", _use_new_zipfile_serialization=False)  # This old format has no checksums.
    content, random = bytearray((tmp_path / "a").read_bytes()), Random(seed)
    for position in random.sample(range(len(content)), 4):
        content[position] = random.randrange(256)
    (tmp_path / "a").write_bytes(content)
    with suppress(GenremillError):
        assert weight_import.read_state(tmp_path / "a")
