"""The tracks that benchmarks are run on."""

import pytest
import soundfile

from benchmarks.throughput.library import Variant, compose_base, plan, split_frames, write_variants
from producer.audio_hash import audio_hash

SECONDS = 12.0
SHARES = (0.0, 0.3, 0.8)


@pytest.fixture(scope="module", params=[".mp3", ".flac"])
def base(request, tmp_path_factory):
    """A composed track."""
    path = tmp_path_factory.mktemp("base") / f"5{request.param}"
    compose_base(path, SECONDS)
    return path


def variants_of(base, folder, suffix):
    variants = [Variant(folder / f"{share}{suffix}", share) for share in SHARES]
    write_variants(base, variants)
    return [variant.path for variant in variants]


def test_variants_hold_different_audio_of_the_whole_length(base, tmp_path):
    paths = variants_of(base, tmp_path, base.suffix)
    for path in paths:
        pcm, rate = soundfile.read(path, dtype="int16")
        assert (rate, pcm.shape[1]) == (44_100, 2)
        assert len(pcm) == pytest.approx(SECONDS * rate, abs=2 * 1152)
        assert pcm.any(axis=1).mean() > 0.9
    assert len({audio_hash(bytes(path)) for path in paths}) == len(SHARES)


def test_a_variant_is_the_base_from_another_place_on(base, tmp_path):
    ours, _ = soundfile.read(variants_of(base, tmp_path, base.suffix)[1], dtype="int16")
    theirs, rate = soundfile.read(base, dtype="int16")
    unit = 1152 if base.suffix == ".mp3" else 1  # samples; an MP3 is shifted by frames, the first of which has none
    units = len(split_frames(base.read_bytes())) - 1 if base.suffix == ".mp3" else len(theirs)
    begin = int(SHARES[1] * units) * unit
    away = slice(2 * rate, 5 * rate)  # from the seams
    assert abs(ours[away].astype(int) - theirs[begin:][away]).max() <= 2


def test_short_tracks_are_different_cuts(tmp_path):
    base = tmp_path / "3.flac"
    compose_base(base, SECONDS)
    paths = variants_of(base, tmp_path, ".wav")
    assert {soundfile.info(path).duration for path in paths} == {10.0}
    assert len({audio_hash(bytes(path)) for path in paths}) == len(SHARES)


def test_every_track_is_planned_once_and_no_base_gives_the_same_twice(tmp_path):
    bases = [tmp_path / "0.mp3", tmp_path / "1.flac", tmp_path / "2.mp3"]
    planned = plan(tmp_path, bases, 100)
    assert len({variant.path for variants in planned.values() for variant in variants}) == 116
    for base, variants in planned.items():
        assert len({variant.share for variant in variants}) == len(variants)
        assert {variant.path.suffix for variant in variants} == {base.suffix}


def test_what_is_no_mp3_is_refused():
    with pytest.raises(ValueError, match="at byte 0"):
        split_frames(b"RIFF" * 100)
