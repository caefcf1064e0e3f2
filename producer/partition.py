"""How tracks are divided into jobs of about equal cost.

The cost of a track is given in seconds of audio that have to be decoded.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from db.pending import PendingTrack

REGIONS_AUDIO_S = 34.2  # Under the coverage "regions", three regions of 11.4 s are decoded of a longer track.
UNKNOWN_AUDIO_S = 240.0  # The assumed length of a track whose header says nothing about it.
OVERHEAD_AUDIO_S = 5.0  # Opening a file costs about as much as decoding this much audio.
MAX_JOB_AUDIO_S = 3600.0  # The cost of a job at most, unless it consists of one track.
MIN_JOBS = 16  # A small order is divided into at least this many jobs, so that several workers share it.
MIN_JOB_TRACKS = 16  # But no job is made smaller than this for that reason.


@dataclass(frozen=True)
class JobBatch:
    """The tracks of one job."""

    prediction_ids: tuple[int, ...]
    audio_s: float  # Their cost.


def partition(
    tracks: Sequence[PendingTrack], coverage: str, max_tracks: int, min_jobs: int = MIN_JOBS
) -> Iterator[JobBatch]:
    """Divide the tracks into jobs, the most costly tracks first.

    A job has at most `max_tracks` tracks, and costs at most MAX_JOB_AUDIO_S. Where the tracks are few, jobs are made
    smaller until there are `min_jobs` of them, or until they have MIN_JOB_TRACKS tracks.
    """
    shared_tracks = -(-len(tracks) // min_jobs)  # Rounded up.
    limit = min(max_tracks, max(MIN_JOB_TRACKS, shared_tracks))
    prediction_ids: list[int] = []
    total_s = 0.0
    for track in sorted(tracks, key=lambda track: audio_s(track, coverage), reverse=True):
        cost_s = audio_s(track, coverage)
        if prediction_ids and (len(prediction_ids) == limit or total_s + cost_s > MAX_JOB_AUDIO_S):
            yield JobBatch(tuple(prediction_ids), total_s)
            prediction_ids, total_s = [], 0.0
        prediction_ids.append(track.prediction_id)
        total_s += cost_s
    if prediction_ids:
        yield JobBatch(tuple(prediction_ids), total_s)


def audio_s(track: PendingTrack, coverage: str) -> float:
    """The cost of a track, in seconds of audio."""
    duration_s = track.duration_s if track.duration_s is not None else UNKNOWN_AUDIO_S
    decoded_s = duration_s if coverage == "full" else min(duration_s, REGIONS_AUDIO_S)
    return decoded_s + OVERHEAD_AUDIO_S
