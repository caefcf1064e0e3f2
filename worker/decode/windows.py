"""A file becomes windows of PCM: only what the coverage asks for is read, by seeking.

Nothing here knows of processes; `worker.decode.pool` runs it where it may crash.
"""

import itertools
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

from worker.decode.audio_file import Track, shown
from worker.decode.downmix import to_int16
from worker.decode.native import SILENCE, read_native
from worker.errors import OutOfMemory
from worker.windowing import REGIONS, Cut, Native, Place

NO_ROOM = np.zeros(0, np.int16)


class Windows(NamedTuple):
    """Some of a track's windows, back to back or not."""

    pcm: np.ndarray  # int16 (windows, cut.window), mono, full scale 32768; with `native` (regions, frames, channels)
    frames: int  # see Place
    edge: bool = False
    native: Native | None = None


def read_windows(path: bytes, cut: Cut, limit: int, room: np.ndarray = NO_ROOM) -> Iterator[Windows]:
    """The track's audible windows in blocks of 1 to `limit`.

    A track shorter than a window is padded with zeros; a longer one's tail that fills no window is left out. Where a
    track is cut as published, silent windows are among them. room: int16 (samples,), where native regions are put, if
    the cut wants these and they fit. Raises Missing, Unreadable, Empty, Undecodable, Silent or OutOfMemory, each a
    sentence that names the file.
    """
    try:
        with Track(path, cut.hears_hz, cut.native) as track:
            found = read_native(track.reader, track.length(cut.sample_rate), cut, room) if cut.native else None
            if found is not None:
                yield Windows(found[0], cut.frames, native=found[1])
                return
            for (frames, edge), windows in itertools.groupby(_chosen_windows(track, cut), lambda found: found[0][1:]):
                while block := [pcm for _, pcm in itertools.islice(windows, limit)]:
                    yield Windows(np.stack(block), frames, edge)
    except MemoryError as error:
        raise OutOfMemory(
            f"{shown(path)}: decoding it takes more memory than a decoder may use; look at the file"
        ) from error


def _chosen_windows(track: "Track", cut: Cut) -> Iterator[tuple[Place, np.ndarray]]:
    """Windows of the regions; where these give none, the first audible ones of a walk through the whole track."""
    total, found = track.length(cut.sample_rate), False
    if cut.coverage == "full" and cut.hop:
        for place, window in _windows(track, cut, cut.published(total)):
            found |= _audible(window)
            yield place, window
    for places in cut.regions(total):
        for place, window in _windows(track, cut, places):
            if _audible(_without_context(window, cut)):
                found = True
                yield place, window
    if found:
        return
    walk = _windows(track, cut, cut.walk(), pad=True)
    heard = ((place, window) for place, window in walk if _audible(_without_context(window, cut)))
    for place, window in itertools.islice(heard, REGIONS * cut.region_windows if cut.coverage == "regions" else None):
        found = True
        yield place, window
    if not found:
        raise track.nothing()


def _windows(
    track: "Track", cut: Cut, places: Iterable[Place], *, pad: bool = False
) -> Iterator[tuple[Place, np.ndarray]]:
    """The windows at these places, which ascend: pairs of Place and int16 (cut.window,). Zeros lie around the track;
    `pad` fills up the one of a track that has not even one."""
    samples, pcm, begin = None, np.zeros(0, np.int16), 0
    for count, place in enumerate(places):
        if samples is None:
            begin = place.start
            pcm = np.zeros(max(0, -begin), np.int16)
            samples = map(to_int16, track.samples(cut.sample_rate, max(0, begin), _span(places, cut)))
        pcm, begin = pcm[place.start - begin :], place.start
        pcm = _filled(pcm, samples, cut.window)
        if len(pcm) < cut.needed(place) and (not pad or count or len(pcm) <= max(0, -begin)):
            return
        yield place, pcm[: cut.window] if len(pcm) >= cut.window else np.pad(pcm, (0, cut.window - len(pcm)))


def _span(places: Iterable[Place], cut: Cut) -> int | None:
    """Samples from the first to the last window's end; None where there is no last one."""
    if not isinstance(places, list):
        return None
    return places[-1].start + cut.window - max(0, places[0].start)


def _filled(pcm: np.ndarray, samples: Iterator[np.ndarray], size: int) -> np.ndarray:
    """These samples and as many chunks more as it takes to have `size` of them, or all there are."""
    parts, count = [pcm], len(pcm)
    while count < size and (chunk := next(samples, None)) is not None:
        parts.append(chunk)
        count += len(chunk)
    return np.concatenate(parts) if len(parts) > 1 else pcm


def _without_context(window: np.ndarray, cut: Cut) -> np.ndarray:
    return window[cut.context : cut.context + cut.stride]


def _audible(window: np.ndarray) -> bool:
    return max(int(window.max()), -int(window.min())) > SILENCE
