"""How many jobs a worker should hold, so that its device is never idle. Arithmetic only."""

import math

MAX_JOBS_HELD = 12  # Jobs. More would be kept from other workers without making this one faster.
INITIAL_JOBS_HELD = 2  # Jobs, until a model is loaded: one ends in the engine while the next one is being decoded.
TRACKS_PER_DECODE_PROCESS = 4  # One is being decoded, two wait in the decode pool's queue, one is about to follow.


def jobs_to_hold(batch_windows: int, track_windows: int, decode_processes: int, job_tracks: int) -> int:
    """How many jobs keep a device busy: the one that ends, and those whose tracks the device needs next.

    The tracks needed next fill the next batch and keep all decode processes busy. The decode processes are given more
    tracks than they work on, because fetching and claiming a job takes about as long as decoding a track.

    batch_windows: windows in a batch.
    track_windows: windows of a track, at least 1.
    job_tracks: tracks of a job, at least 1.
    """
    tracks = math.ceil(batch_windows / track_windows) + TRACKS_PER_DECODE_PROCESS * decode_processes
    return min(1 + math.ceil(tracks / job_tracks), MAX_JOBS_HELD)
