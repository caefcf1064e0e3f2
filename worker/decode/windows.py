"""Turns a file into windows of PCM. Only what the coverage asks for is read, by seeking.

Nothing here knows of processes. worker.decode.child runs it where it may crash.
"""

import itertools
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from worker.decode.audio_file import AudioFile, display_name
from worker.decode.downmix import to_int16
from worker.decode.native import SILENCE_PEAK, read_native
from worker.errors import DecoderOutOfMemoryError
from worker.windowing import REGIONS, FrameCut, NativeLayout, Windowing, WindowPosition

NO_BUFFER = np.zeros(0, np.int16)  # For callers that want no native regions.

PlacedWindow = tuple[WindowPosition, npt.NDArray[np.int16]]  # A window, and where in the track it lies.


class Windows(NamedTuple):
    """Some windows of a track, in the track's order."""

    pcm: npt.NDArray[np.int16]  # (windows, samples), mono; with `native`, (regions, frames, channels) instead.
    cut: FrameCut | None = None  # How each of them is cut by frames; None for models without a hop.
    native: NativeLayout | None = None  # How windows lie in native regions.


def read_windows(
    path: bytes,
    windowing: Windowing,
    max_windows: int,
    native_buffer: npt.NDArray[np.int16] = NO_BUFFER,
    use_mpg123: bool = True,
) -> Iterator[Windows]:
    """Read the audible windows of a track, in blocks of 1 to `max_windows`.

    A track shorter than a window is padded with zeros. Of a longer one, the tail that fills no window is left out.
    Where a track is cut as the published systems do, silent windows are among the others. native_buffer: int16
    (samples,), into which native regions are read if the windowing wants them and they fit. use_mpg123: see AudioFile.

    Raises MissingFileError, UnreadableFileError, NoAudioError, UndecodableError, SilentError or
    DecoderOutOfMemoryError. Each names the file in one sentence.
    """
    try:
        with AudioFile(path, windowing.max_frequency_hz, windowing.native, use_mpg123) as file:
            native = _read_native(file, windowing, native_buffer)
            if native is not None:
                yield native
            else:
                yield from _blocks(_audible_windows(file, windowing), max_windows)
    except MemoryError as error:
        raise DecoderOutOfMemoryError(
            f"{display_name(path)}: decoding it takes more memory than a decoder may use; look at the file"
        ) from error


def _read_native(file: AudioFile, windowing: Windowing, buffer: npt.NDArray[np.int16]) -> Windows | None:
    """The native regions; None where none are wanted, or where windows have to be cut here."""
    if not windowing.native:
        return None
    regions = read_native(file.reader, file.length(windowing.sample_rate), windowing, buffer)
    return None if regions is None else Windows(regions[0], windowing.frame_cut, regions[1])


def _blocks(windows: Iterator[PlacedWindow], max_windows: int) -> Iterator[Windows]:
    """Windows in blocks. Those in a block have the same FrameCut."""
    for cut, alike in itertools.groupby(windows, lambda window: window[0].cut):
        while block := [pcm for _, pcm in itertools.islice(alike, max_windows)]:
            yield Windows(np.stack(block), cut)


def _audible_windows(file: AudioFile, windowing: Windowing) -> Iterator[PlacedWindow]:
    """The windows that the coverage asks for. Where none of them is audible, others are looked for in the whole track.

    Raises the file's failure() when there is no audible window anywhere.
    """
    total, any_audible = file.length(windowing.sample_rate), False
    if windowing.coverage == "full" and windowing.hop:
        for position, window in _cut(file, windowing, windowing.published_positions(total)):
            any_audible |= _is_audible(window)
            yield position, window
    for positions in windowing.regions(total):
        for position, window in _cut(file, windowing, positions):
            if _is_audible(_without_context(window, windowing)):
                any_audible = True
                yield position, window
    if not any_audible:
        yield from _search_whole_track(file, windowing)


def _search_whole_track(file: AudioFile, windowing: Windowing) -> Iterator[PlacedWindow]:
    """The audible windows of the whole track, back to back; with coverage "regions", as many as regions would have."""
    limit = REGIONS * windowing.region_windows if windowing.coverage == "regions" else None
    windows = _cut(file, windowing, windowing.contiguous(), pad=True)
    audible = (placed for placed in windows if _is_audible(_without_context(placed[1], windowing)))
    any_audible = False
    for placed in itertools.islice(audible, limit):
        any_audible = True
        yield placed
    if not any_audible:
        raise file.failure()


def _cut(
    file: AudioFile, windowing: Windowing, positions: Iterable[WindowPosition], *, pad: bool = False
) -> Iterator[PlacedWindow]:
    """The windows at ascending positions, int16 (windowing.window,) each, until the track has too little of one.

    Zeros take the place of what is before and behind the track. pad: when the track has too little of the first
    window, it is given all the same, unless the track has nothing of it.
    """
    samples: Iterator[npt.NDArray[np.int16]] | None = None
    pcm, pcm_start = np.zeros(0, np.int16), 0  # Samples that were read and are still needed, and where they begin.
    for number, position in enumerate(positions):
        if samples is None:
            pcm, pcm_start = np.zeros(max(0, -position.start), np.int16), position.start
            chunks = file.samples(windowing.sample_rate, max(0, position.start), _span(positions, windowing))
            samples = map(to_int16, chunks)
        pcm, pcm_start = pcm[position.start - pcm_start :], position.start
        pcm = _extend(pcm, samples, windowing.window)
        has_audio = len(pcm) > max(0, -pcm_start)  # More than the zeros before the track.
        if len(pcm) < windowing.needed(position) and not (pad and number == 0 and has_audio):
            return
        missing = max(0, windowing.window - len(pcm))
        yield position, np.pad(pcm, (0, missing)) if missing else pcm[: windowing.window]


def _span(positions: Iterable[WindowPosition], windowing: Windowing) -> int | None:
    """Samples from the first position in the track to the end of the last window; None where there is no last one."""
    if not isinstance(positions, list):
        return None
    first, last = positions[0].start, positions[-1].start
    return int(last + windowing.window - max(0, first))


def _extend(pcm: npt.NDArray[np.int16], chunks: Iterator[npt.NDArray[np.int16]], size: int) -> npt.NDArray[np.int16]:
    """These samples, and as many further chunks as it takes to have `size` samples, or all that there are."""
    parts, count = [pcm], len(pcm)
    while count < size and (chunk := next(chunks, None)) is not None:
        parts.append(chunk)
        count += len(chunk)
    return np.concatenate(parts) if len(parts) > 1 else pcm


def _without_context(window: npt.NDArray[np.int16], windowing: Windowing) -> npt.NDArray[np.int16]:
    return window[windowing.context : windowing.context + windowing.stride]


def _is_audible(window: npt.NDArray[np.int16]) -> bool:
    return max(int(window.max()), -int(window.min())) > SILENCE_PEAK
