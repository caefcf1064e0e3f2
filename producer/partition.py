"""Tracks into jobs of bounded and about equal cost. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from db.jobs import PendingTrack

REGIONS_AUDIO_S = 34.2  # three regions of 11.4 s are decoded of a longer track
UNKNOWN_AUDIO_S = 240.0  # a track whose header says nothing
OVERHEAD_AUDIO_S = 5.0  # opening a file costs about as much as decoding this
MOST_AUDIO_S = 3600.0  # of a job, unless a single track is longer
FEWEST_JOBS = 16  # a small order is cut into at least so many jobs, so that several workers share it
FEWEST_TRACKS = 16  # of a job that is small for that reason


@dataclass(frozen=True)
class JobBatch:
    """Tracks for one job."""

    track_ids: tuple[int, ...]
    audio_s: float


def partition(
    tracks: Sequence[PendingTrack], coverage: str, most_tracks: int, fewest_jobs: int = FEWEST_JOBS
) -> Iterator[JobBatch]:
    """Cut the tracks, the most costly first, into buckets of at most `most_tracks` and MOST_AUDIO_S."""
    most = max(min(most_tracks, FEWEST_TRACKS), min(most_tracks, -(-len(tracks) // fewest_jobs)))
    ids: list[int] = []
    total = 0.0
    for track in sorted(tracks, key=lambda track: -audio_s(track, coverage)):
        cost = audio_s(track, coverage)
        if ids and (len(ids) == most or total + cost > MOST_AUDIO_S):
            yield JobBatch(tuple(ids), total)
            ids, total = [], 0.0
        ids.append(track.id)
        total += cost
    if ids:
        yield JobBatch(tuple(ids), total)


def audio_s(track: PendingTrack, coverage: str) -> float:
    """Seconds of audio that a track costs."""
    duration_s = track.duration_s if track.duration_s is not None else UNKNOWN_AUDIO_S
    decoded_s = duration_s if coverage == "full" else min(duration_s, REGIONS_AUDIO_S)
    return decoded_s + OVERHEAD_AUDIO_S
