"""Readers of audio files: both give mono float32 at the file's own rate, from any frame on.

SoundfileReader   wav, flac, ogg, mp3, aiff: fast, exact to the frame
ContainerReader   everything else, Opus (twice as fast here), and what is damaged in the middle
"""

import os
from collections.abc import Iterator

import numpy as np
import soundfile as sf

BLOCK_BYTES = 1 << 19  # what a reader holds decoded at a time
PRE_ROLL_S = 0.5  # decoded and thrown away after a seek: mp3, aac and opus are wrong without it
MISSING_S = 0.1  # an end that comes earlier than the header says by more than this is damage
BAD_PACKETS = 100
COUNTED = ("aac",)  # formats whose duration FFmpeg only guesses, from the first bit rates


class Broken(Exception):
    """A reader cannot open the file, or cannot go on; the message is the library's own."""


class _Sequential(sf.SoundFile):
    """soundfile seeks after every read, which costs time, and in MP3 the content of the next 60 ms: not this one."""

    def seekable(self) -> bool:
        return False


class SoundfileReader:
    """A file through libsndfile. `fd` stays the caller's; raises Broken when libsndfile does not know the format."""

    name = "soundfile"

    def __init__(self, fd: int):
        os.lseek(fd, 0, os.SEEK_SET)
        try:
            self._file = _Sequential(fd, closefd=False)
        except (sf.SoundFileError, RuntimeError, TypeError, ValueError) as error:
            raise _broken(error) from error
        self.rate: int = self._file.samplerate
        self.frames: int = self._file.frames
        self.subtype: str = self._file.subtype
        # libsndfile decodes too few frames of MPEG audio before a seek's target to fill the bit reservoir
        self._pre_roll = round(PRE_ROLL_S * self.rate) if self.subtype.startswith("MPEG") else 0

    def blocks(self, start: int, stop: int | None) -> Iterator[np.ndarray]:
        """Mono blocks (n,) of frames `start` to `stop`, or to the end; Broken where the file cannot be read."""
        most = max(1024, BLOCK_BYTES // (4 * self._file.channels))
        at, end = max(0, start - self._pre_roll), self.frames if stop is None else min(stop, self.frames)
        try:
            self._file.seek(at)
            while at < end:
                block = self._file.read(min(most, end - at), "float32", always_2d=True)
                if not len(block):
                    break
                yield _mono(block[max(0, start - at) :].T)
                at += len(block)
        except (sf.SoundFileError, RuntimeError) as error:
            raise _broken(error) from error
        if end - at > MISSING_S * self.rate:
            raise Broken(f"it ends at {at / self.rate:.1f} s of {self.frames / self.rate:.1f} s")

    def close(self) -> None:
        """End libsndfile's use of the file."""
        self._file.close()


class ContainerReader:
    """A file through PyAV (FFmpeg): its best audio stream. Raises Broken when there is none."""

    name = "PyAV"

    def __init__(self, path: bytes):
        import av  # a third of a child's memory, which most tracks never need

        self._av = av
        try:
            options = {"protocol_whitelist": "file"}  # a playlist in disguise must not open the network
            self._container = av.open("file:" + os.fsdecode(path), options=options, metadata_errors="ignore")
        except av.FFmpegError as error:
            raise _broken(error) from error
        try:
            self._choose_stream()
            self.frames = self._count_frames()
        except BaseException:
            self._container.close()
            raise

    def _choose_stream(self) -> None:
        stream = self._container.streams.best("audio")
        if stream is None:
            raise Broken("no audio stream")
        if not stream.codec_context or not stream.codec_context.sample_rate:
            raise Broken("the audio stream has no decoder or no sample rate")
        for other in self._container.streams:
            if other is not stream:
                other.discard = self._av.stream.Discard.all
        stream.codec_context.thread_type, stream.codec_context.thread_count = "NONE", 1
        self._stream, self._moved = stream, False
        self.rate: int = stream.codec_context.sample_rate
        self._origin = stream.start_time or 0

    def _count_frames(self) -> int:
        """Frames by the header, or, where that says nothing sure, by the packets (which is not decoding)."""
        if self._container.format.name not in COUNTED:
            if self._stream.duration:
                return round(float(self._stream.duration * self._stream.time_base) * self.rate)
            if self._container.duration:
                return round(self._container.duration / self._av.time_base * self.rate)
        self._moved = True
        ticks = sum(packet.duration or 0 for packet in self._packets())
        return round(float(ticks * self._stream.time_base) * self.rate)

    def blocks(self, start: int, stop: int | None) -> Iterator[np.ndarray]:
        """Mono blocks (n,) of frames `start` to `stop`, or to the end; Broken after too many bad packets."""
        self._seek(start)
        at, fifo = None, self._av.AudioFifo()
        for frame in self._frames():
            if at is None:
                at = self._position(frame, start)
            if frame.sample_rate != self.rate:
                raise Broken(f"the sample rate changes from {self.rate} to {frame.sample_rate} Hz in the file")
            frame.pts = None  # the fifo would refuse gaps; frames are counted instead
            try:
                fifo.write(frame)
            except ValueError as error:
                raise Broken(f"the sample format changes in the file: {error}") from error
            enough = stop is not None and at + fifo.samples >= stop
            if enough or fifo.samples * 4 * len(frame.layout.channels) >= BLOCK_BYTES:
                block = _decoded(fifo.read())
                yield _cut(block, at, start, stop)
                at += len(block)
            if enough:
                return
        if at is not None and fifo.samples:
            yield _cut(_decoded(fifo.read()), at, start, stop)

    def _seek(self, start: int) -> None:
        if not start and not self._moved:
            return
        self._moved = True
        ticks = int(max(0.0, start / self.rate - PRE_ROLL_S) / self._stream.time_base)
        try:
            self._container.seek(self._origin + ticks, stream=self._stream, backward=True)
        except self._av.FFmpegError as error:  # its own words are of permissions, whatever is wrong
            raise Broken(f"cannot seek to {start / self.rate:.1f} s") from error

    def _position(self, frame, start: int) -> int:
        if frame.pts is None:
            return max(0, start - round(PRE_ROLL_S * self.rate))
        ticks = frame.pts - self._origin * float(self._stream.time_base / frame.time_base)
        return round(float(frame.time_base) * ticks * self.rate)

    def _frames(self) -> Iterator:
        """Decoded frames, around bad packets; Broken when there are too many of these, or no frame at all."""
        self._moved = True
        good = bad = 0
        for packet in self._packets():
            try:
                frames = packet.decode()
            except self._av.error.EOFError:
                return
            except self._av.FFmpegError as error:
                bad += 1
                if bad > BAD_PACKETS or (packet.size == 0 and not good):
                    raise _broken(error) from error
                continue
            good += len(frames)
            yield from frames
        if bad and not good:
            raise Broken(f"{bad} bad packets and nothing else")

    def _packets(self) -> Iterator:
        """Packets of the stream, then the empty one that flushes the decoder; unreadable stretches are left out."""
        for _ in range(BAD_PACKETS):
            try:
                yield from self._container.demux(self._stream)
                return
            except self._av.FFmpegError as error:
                last = _broken(error)
        raise last

    def close(self) -> None:
        """Close the file."""
        self._container.close()


def _broken(error: Exception) -> Broken:
    """The library's words as Broken; MemoryError where it ran out of memory."""
    text = getattr(error, "error_string", None) or getattr(error, "strerror", None) or str(error)
    if isinstance(error, MemoryError) or "malloc" in text:
        raise MemoryError(text) from error
    return Broken(text.strip().rstrip("."))


def _decoded(frame) -> np.ndarray:
    """An audio frame of any sample format as mono float32 (n,)."""
    planes = frame.to_ndarray()
    if not frame.format.is_planar:
        planes = planes.reshape(-1, len(frame.layout.channels)).T
    if planes.dtype == np.uint8:
        return _mono((planes.astype(np.float32) - 128) / 128)
    if planes.dtype.kind == "i":
        return _mono(planes.astype(np.float32) * np.float32(1 / (1 << (8 * planes.itemsize - 1))))
    return _mono(planes.astype(np.float32, copy=False))


def _mono(planes: np.ndarray) -> np.ndarray:
    """The mean of float32 (channels, n), without NaN or infinity: (n,). A product, since np.mean is 20 times slower."""
    with np.errstate(all="ignore"):  # infinity minus infinity
        mono = np.full(len(planes), 1 / len(planes), np.float32) @ planes if len(planes) > 1 else planes[0]
        if not np.isfinite(np.dot(mono, mono)):
            mono = np.clip(np.nan_to_num(mono, nan=0.0), -1.0, 1.0)
    return mono


def _cut(block: np.ndarray, at: int, start: int, stop: int | None) -> np.ndarray:
    """The part of a block that begins at frame `at` which lies between `start` and `stop`."""
    return block[max(0, start - at) : None if stop is None else max(0, stop - at)]
