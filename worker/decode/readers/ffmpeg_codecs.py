"""What FFmpeg needs in each codec, so that the samples after a seek are the right ones."""

from typing import NamedTuple

from worker.decode.readers.base import PRE_ROLL_S

ANY = ""  # Matches every name.
SHORT_PRE_ROLL_S = 0.1  # Enough where a frame depends on few frames before it, or on none.


class SeekBehaviour(NamedTuple):
    """How a codec, a container, or a codec in one container, behaves when FFmpeg seeks in it.

    A seek goes to a place before the wanted frame, since a decoder that starts in the middle gives wrong samples at
    first. This is the pre-roll: it is decoded and thrown away.
    """

    # What the row is for, by FFmpeg's names.
    codec: str = ANY
    container: str = ANY
    profile: str = ANY

    # The length of the pre-roll in seconds or, where that is not 0, in blocks of WMA (see wma_block_frames).
    pre_roll_s: float = PRE_ROLL_S
    pre_roll_blocks: int = 0

    # FFmpeg finds another place than the one it says. So every read decodes the file from its beginning.
    from_start: bool = False

    # FFmpeg's times are late by so many blocks of WMA.
    late_blocks: int = 0

    # So many blocks of WMA may be lost before the first decoded one. Zeros replace them, so that the rest is in place.
    lost_blocks: int = 0

    # The file is ADTS: it has neither a length nor an index, and FFmpeg only guesses the length from the bit rates of
    # the first frames. So its frames are found by worker.decode.readers.adts; where that fails, packets are counted.
    is_adts: bool = False

    def pre_roll_seconds(self, rate: int) -> float:
        """The length of the pre-roll at a sample rate in Hz."""
        return self.pre_roll_blocks * wma_block_frames(rate) / rate if self.pre_roll_blocks else self.pre_roll_s


# The first row that matches counts. That is why rows for one container come before rows for a codec in any container.
SEEK_BEHAVIOURS = (
    # FFmpeg misplaces these after a seek, each only in this container.
    SeekBehaviour(codec="flac", container="ogg", from_start=True),
    SeekBehaviour(codec="speex", container="ogg", from_start=True),
    SeekBehaviour(codec="adpcm_ms", container="wav", from_start=True),
    SeekBehaviour(codec="adpcm_ima_wav", container="wav", from_start=True),
    # In WMA, the block in which a packet begins is lost, and so is the block that overlaps with the next one. The
    # pre-roll is twice these two. That FFmpeg's times are late by a block was measured.
    SeekBehaviour(codec="wmav1", pre_roll_blocks=4, late_blocks=1, lost_blocks=2),
    SeekBehaviour(codec="wmav2", pre_roll_blocks=4, late_blocks=1, lost_blocks=2),
    # ADTS. AAC of low complexity (LC) needs less pre-roll than AAC with spectral band replication (SBR, HE-AAC).
    SeekBehaviour(container="aac", profile="LC", pre_roll_s=SHORT_PRE_ROLL_S, is_adts=True),
    SeekBehaviour(container="aac", is_adts=True),
    SeekBehaviour(profile="LC", pre_roll_s=SHORT_PRE_ROLL_S),
    # The other codecs for which a short pre-roll is enough.
    SeekBehaviour(codec="vorbis", pre_roll_s=SHORT_PRE_ROLL_S),
    SeekBehaviour(codec="opus", pre_roll_s=SHORT_PRE_ROLL_S),
    SeekBehaviour(codec="flac", pre_roll_s=SHORT_PRE_ROLL_S),
    SeekBehaviour(codec="alac", pre_roll_s=SHORT_PRE_ROLL_S),
    SeekBehaviour(codec="wavpack", pre_roll_s=SHORT_PRE_ROLL_S),
    SeekBehaviour(codec="ape", pre_roll_s=SHORT_PRE_ROLL_S),
    # Everything else: the length of the pre-roll that is enough for MP3 and for AAC with SBR.
    SeekBehaviour(),
)


def seek_behaviour(codec: str, container: str, profile: str | None) -> SeekBehaviour:
    """The first row of SEEK_BEHAVIOURS for a codec, container and profile, all by FFmpeg's names."""
    names = (codec, container, profile or "")
    return next(row for row in SEEK_BEHAVIOURS if _matches(row, names))


def _matches(row: SeekBehaviour, names: tuple[str, str, str]) -> bool:
    patterns = (row.codec, row.container, row.profile)
    return all(pattern in (ANY, name) for pattern, name in zip(patterns, names, strict=True))


def wma_block_frames(rate: int) -> int:
    """Frames in a block of WMA at this sample rate in Hz, by `ff_wma_get_frame_len_bits` of FFmpeg."""
    if rate <= 16_000:
        return 512
    return 1024 if rate <= 22_050 else 2048
