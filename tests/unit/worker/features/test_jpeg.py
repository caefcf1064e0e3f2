"""Pictures after JPEG against those that PIL saves and opens."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from worker.features.jpeg import JpegPalette
from worker.features.picture import MAGMA


def save_and_open(picture: np.ndarray) -> np.ndarray:
    """A picture (height, width, 3) through a JPEG file of PIL's default quality, which is 75."""
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG")
    return np.asarray(Image.open(file))


@pytest.mark.parametrize(("height", "width"), [(369, 496), (32, 32), (17, 15), (16, 33)])
def test_colours_are_those_of_a_jpeg_file_of_quality_75(height, width):
    random = np.random.default_rng(height)
    smooth = np.add.outer(np.arange(height), np.arange(width)) % 256
    indices = np.stack([smooth, random.integers(0, 256, (height, width)), smooth.T.reshape(height, width) // 7 * 7])
    found = JpegPalette(MAGMA)(torch.from_numpy(indices)).permute(0, 2, 3, 1).numpy()
    expected = np.stack([save_and_open(MAGMA.numpy()[picture]) for picture in indices])
    assert (found == expected).mean() > 0.999
    assert np.abs(found - expected).max() <= 1
