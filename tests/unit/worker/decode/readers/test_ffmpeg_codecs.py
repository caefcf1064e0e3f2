"""The table of what FFmpeg needs in each codec."""

import pytest

from worker.decode.readers.ffmpeg_codecs import seek_behaviour, wma_block_frames


@pytest.mark.parametrize(
    ("codec", "container", "profile", "seconds"),
    [
        ("mp3", "mp3", None, 0.5),
        ("aac", "mov,mp4,m4a,3gp,3g2,mj2", "LC", 0.1),
        ("aac", "mov,mp4,m4a,3gp,3g2,mj2", "HE-AAC", 0.5),
        ("aac", "aac", "LC", 0.1),
        ("aac", "aac", "HE-AAC", 0.5),
        ("vorbis", "ogg", None, 0.1),
        ("opus", "matroska,webm", None, 0.1),
        ("flac", "flac", None, 0.1),
        ("flac", "matroska,webm", None, 0.1),
        ("alac", "mov,mp4,m4a,3gp,3g2,mj2", None, 0.1),
        ("wavpack", "wv", None, 0.1),
        ("ape", "ape", None, 0.1),
        ("adpcm_ms", "avi", None, 0.5),
        ("speex", "flv", None, 0.5),
    ],
)
def test_a_codec_has_its_pre_roll(codec, container, profile, seconds):
    behaviour = seek_behaviour(codec, container, profile)
    assert behaviour.pre_roll_seconds(44_100) == seconds
    assert (behaviour.from_start, behaviour.late_blocks, behaviour.lost_blocks) == (False, 0, 0)
    assert behaviour.is_adts is (container == "aac")


@pytest.mark.parametrize(
    ("codec", "container"), [("flac", "ogg"), ("speex", "ogg"), ("adpcm_ms", "wav"), ("adpcm_ima_wav", "wav")]
)
def test_what_is_misplaced_in_one_container_is_read_from_its_start_there_alone(codec, container):
    assert seek_behaviour(codec, container, None).from_start
    assert not seek_behaviour(codec, "matroska,webm", None).from_start


@pytest.mark.parametrize("codec", ["wmav1", "wmav2"])
def test_wma_counts_in_blocks(codec):
    behaviour = seek_behaviour(codec, "asf", None)
    assert behaviour.pre_roll_seconds(44_100) == 4 * 2048 / 44_100
    assert behaviour.pre_roll_seconds(16_000) == 4 * 512 / 16_000
    assert (behaviour.late_blocks, behaviour.lost_blocks, behaviour.is_adts) == (1, 2, False)


@pytest.mark.parametrize(
    ("rate", "frames"),
    [(8_000, 512), (16_000, 512), (16_001, 1024), (22_050, 1024), (22_051, 2048), (44_100, 2048), (48_000, 2048)],
)
def test_a_block_of_wma_lasts_about_as_long_at_every_rate(rate, frames):
    assert wma_block_frames(rate) == frames
