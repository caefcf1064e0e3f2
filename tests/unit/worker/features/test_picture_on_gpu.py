"""Pictures of spectrograms that a GPU draws are those that the CPU draws."""

import pytest
import torch

from tests.support.gpu import needs_gpu
from worker.features.picture import SpectrogramImage, first_frames

pytestmark = needs_gpu


@pytest.mark.parametrize("bins", [84, 128])
def test_the_kernels_draw_the_same_pictures(bins):
    pytest.importorskip("triton")
    values = (torch.randn(40, bins, 491, generator=torch.Generator().manual_seed(0)) * 12 - 35).clamp(-80, 0)
    values[3] = -7.0  # without contrast
    lengths = torch.tensor([490, 491] * 20)
    values = first_frames(values, lengths)
    expected = SpectrogramImage(bins)(values, lengths)
    image = SpectrogramImage(bins).cuda()
    found = image(values.cuda(), lengths.cuda())
    assert type(image._kernels).__name__ == "PictureKernels"
    assert (found.cpu() - expected).abs().mean() < 1e-5
    assert (found.cpu() - expected).abs().max() < 0.05


def test_where_triton_does_not_work_the_pictures_are_the_same(caplog):
    def fail(image: SpectrogramImage) -> torch.nn.Module:
        raise RuntimeError("no C compiler")

    lengths = torch.tensor([490, 491, 490])
    values = first_frames(torch.rand(3, 84, 491) * -80, lengths)
    found = SpectrogramImage(84, make_kernels=fail).cuda()(values.cuda(), lengths.cuda())
    assert "Triton does not work here" in caplog.text
    assert (found.cpu() - SpectrogramImage(84)(values, lengths)).abs().mean() < 1e-5


def test_kernels_that_fail_when_they_are_tried_are_not_used(caplog):
    class Failing(torch.nn.Module):
        def forward(self, values: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
            raise RuntimeError("unknown GPU")

    lengths = torch.tensor([490])
    values = torch.rand(1, 84, 490) * -80
    found = SpectrogramImage(84, make_kernels=lambda image: Failing()).cuda()(values.cuda(), lengths.cuda())
    assert "unknown GPU" in caplog.text
    assert (found.cpu() - SpectrogramImage(84)(values, lengths)).abs().mean() < 1e-5
