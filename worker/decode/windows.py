"""A file becomes windows of PCM: only what the coverage asks for is read, by seeking.

Nothing here knows of processes; `worker.decode.pool` runs it where it may crash.
"""

import itertools
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

from worker.decode.audio_file import AudioFile, display_name
from worker.decode.downmix import to_int16
from worker.decode.native import SILENCE, read_native
from worker.errors import DecoderOutOfMemoryError
from worker.windowing import REGIONS, NativeLayout, Windowing, WindowPosition

NO_ROOM = np.zeros(0, np.int16)


class Windows(NamedTuple):
    """Some of a track's windows, back to back or not."""

    pcm: np.ndarray  # int16 (windows, cut.window), mono, full scale 32768; with `native` (regions, frames, channels)
    frames: int  # see WindowPosition
    edge: bool = False
    native: NativeLayout | None = None


def read_windows(path: bytes, windowing: Windowing, limit: int, room: np.ndarray = NO_ROOM) -> Iterator[Windows]:
    """The track's audible windows in blocks of 1 to `limit`.

    A track shorter than a window is padded with zeros; a longer one's tail that fills no window is left out. Where a
    track is cut as published, silent windows are among them. room: int16 (samples,), where native regions are put, if
    the cut wants these and they fit. Raises Missing, Unreadable, Empty, Undecodable, Silent or DecoderOutOfMemoryError, each a
    sentence that names the file.
    """
    try:
        with AudioFile(path, windowing.max_frequency_hz, windowing.native) as track:
            found = (
                read_native(track.reader, track.length(windowing.sample_rate), windowing, room)
                if windowing.native
                else None
            )
            if found is not None:
                yield Windows(found[0], windowing.frames, native=found[1])
                return
            for (frames, edge), windows in itertools.groupby(
                _chosen_windows(track, windowing), lambda found: found[0][1:]
            ):
                while block := [pcm for _, pcm in itertools.islice(windows, limit)]:
                    yield Windows(np.stack(block), frames, edge)
    except MemoryError as error:
        raise DecoderOutOfMemoryError(
            f"{display_name(path)}: decoding it takes more memory than a decoder may use; look at the file"
        ) from error


def _chosen_windows(track: "AudioFile", windowing: Windowing) -> Iterator[tuple[WindowPosition, np.ndarray]]:
    """Windows of the regions; where these give none, the first audible ones of a walk through the whole track."""
    total, found = track.length(windowing.sample_rate), False
    if windowing.coverage == "full" and windowing.hop:
        for position, window in _windows(track, windowing, windowing.published_positions(total)):
            found |= _audible(window)
            yield position, window
    for positions in windowing.regions(total):
        for position, window in _windows(track, windowing, positions):
            if _audible(_without_context(window, windowing)):
                found = True
                yield position, window
    if found:
        return
    walk = _windows(track, windowing, windowing.contiguous(), pad=True)
    heard = ((position, window) for position, window in walk if _audible(_without_context(window, windowing)))
    for position, window in itertools.islice(
        heard, REGIONS * windowing.region_windows if windowing.coverage == "regions" else None
    ):
        found = True
        yield position, window
    if not found:
        raise track.nothing()


def _windows(
    track: "AudioFile", windowing: Windowing, positions: Iterable[WindowPosition], *, pad: bool = False
) -> Iterator[tuple[WindowPosition, np.ndarray]]:
    """The windows at these places, which ascend: pairs of WindowPosition and int16 (cut.window,). Zeros lie around the track;
    `pad` fills up the one of a track that has not even one."""
    samples, pcm, begin = None, np.zeros(0, np.int16), 0
    for count, position in enumerate(positions):
        if samples is None:
            begin = position.start
            pcm = np.zeros(max(0, -begin), np.int16)
            samples = map(to_int16, track.samples(windowing.sample_rate, max(0, begin), _span(positions, windowing)))
        pcm, begin = pcm[position.start - begin :], position.start
        pcm = _filled(pcm, samples, windowing.window)
        if len(pcm) < windowing.needed(position) and (not pad or count or len(pcm) <= max(0, -begin)):
            return
        yield (
            position,
            pcm[: windowing.window] if len(pcm) >= windowing.window else np.pad(pcm, (0, windowing.window - len(pcm))),
        )


def _span(positions: Iterable[WindowPosition], windowing: Windowing) -> int | None:
    """Samples from the first to the last window's end; None where there is no last one."""
    if not isinstance(positions, list):
        return None
    return positions[-1].start + windowing.window - max(0, positions[0].start)


def _filled(pcm: np.ndarray, samples: Iterator[np.ndarray], size: int) -> np.ndarray:
    """These samples and as many chunks more as it takes to have `size` of them, or all there are."""
    parts, count = [pcm], len(pcm)
    while count < size and (chunk := next(samples, None)) is not None:
        parts.append(chunk)
        count += len(chunk)
    return np.concatenate(parts) if len(parts) > 1 else pcm


def _without_context(window: np.ndarray, windowing: Windowing) -> np.ndarray:
    return window[windowing.context : windowing.context + windowing.stride]


def _audible(window: np.ndarray) -> bool:
    return max(int(window.max()), -int(window.min())) > SILENCE
