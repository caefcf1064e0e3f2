"""How many jobs a worker holds. Pure."""

import math

MOST_JOBS_HELD = 12
FIRST_JOBS = 2  # held: while the last tracks of one are in the engine, the next one's are being decoded


def jobs_to_hold(batch: int, track_windows: int, decode_processes: int, job_tracks: int) -> int:
    """How many jobs keep a device busy: one that ends, and those whose tracks fill the next batch, are with a child,
    wait for one, and come next: fetching and claiming a job takes as long as the children take for a track."""
    tracks = math.ceil(batch / track_windows) + 4 * decode_processes
    return min(1 + math.ceil(tracks / job_tracks), MOST_JOBS_HELD)
