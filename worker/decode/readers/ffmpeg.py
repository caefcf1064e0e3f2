"""Reads through FFmpeg (PyAV) whatever the other readers do not know, or know as slower: Vorbis and Opus, for example.

It also reads files that are damaged in the middle. What each codec needs is in worker.decode.readers.ffmpeg_codecs.
"""

import itertools
import math
import os
from collections.abc import Iterator
from fractions import Fraction
from typing import TYPE_CHECKING, cast

import numpy as np
import numpy.typing as npt

from worker.decode.downmix import INT16_SCALE, mix, mix_planes, numpy_dtype, replace_non_finite
from worker.decode.readers.adts import AdtsIndex, index_adts
from worker.decode.readers.base import ReaderError, fill_mono, to_reader_error
from worker.decode.readers.ffmpeg_codecs import seek_behaviour, wma_block_frames

if TYPE_CHECKING:
    from av import AudioFifo, AudioFrame, AudioStream, Packet

# Bytes of decoded frames that are collected before they are mixed. With more, they leave the processor's cache, and
# malloc gives their memory back to the system each time.
FIFO_BYTES = 1 << 17
MAX_BAD_PACKETS = 100  # A file with more packets that cannot be decoded, or stretches that cannot be read, is given up.


class FfmpegReader:
    """The best audio stream of a file, through FFmpeg. It satisfies worker.decode.readers.base.Reader.

    Raises ReaderError when FFmpeg does not know the format, or when there is no audio stream that it can decode.
    """

    name = "PyAV"
    channels = 1

    def __init__(self, path: bytes) -> None:
        import av  # Only now: it takes a third of a decode process's memory, and most tracks never need it.

        self._av = av
        try:
            options = {"protocol_whitelist": "file"}  # A playlist with an audio file's name must not open the network.
            self._container = av.open("file:" + os.fsdecode(path), options=options, metadata_errors="ignore")
        except av.FFmpegError as error:
            raise to_reader_error(error) from error
        try:
            self._open_stream()
            self.frames = self._count_frames(path)
        except BaseException:
            self._container.close()
            raise

    def _open_stream(self) -> None:
        """Choose the audio stream, and look up how its codec behaves."""
        stream = self._choose_stream()
        self._stream, self._has_moved = stream, False  # Whether the file has been read from, so that 0 needs a seek.
        self._adts: AdtsIndex | None = None
        self._time_base = stream.time_base or Fraction(1, stream.codec_context.sample_rate)  # Seconds per tick.
        self._origin = stream.start_time or 0  # The time of the first sample, in ticks.
        self._stream_channels: int = stream.codec_context.channels
        self.rate: int = stream.codec_context.sample_rate
        self.codec: str = stream.codec_context.name
        self._behaviour = seek_behaviour(self.codec, self._container.format.name, stream.profile)
        self._pre_roll_s = self._behaviour.pre_roll_seconds(self.rate)
        self._late_frames = self._behaviour.late_blocks * wma_block_frames(self.rate)
        self._lost_frames = self._behaviour.lost_blocks * wma_block_frames(self.rate)

    def _choose_stream(self) -> "AudioStream":
        """The best audio stream. FFmpeg skips the packets of all others, and decodes in this thread."""
        stream = self._container.streams.best("audio")
        if not isinstance(stream, self._av.AudioStream):
            raise ReaderError("no audio stream")
        if not stream.codec_context or not stream.codec_context.sample_rate:
            raise ReaderError("the audio stream has no decoder or no sample rate")
        for other in self._container.streams:
            if other is not stream:
                other.discard = self._av.stream.Discard.all
        stream.codec_context.thread_type, stream.codec_context.thread_count = "NONE", 1
        return stream

    def _count_frames(self, path: bytes) -> int:
        """The length in frames by the header or, where that does not say it for sure, by an index or the packets."""
        if not self._behaviour.is_adts:
            if self._stream.duration:
                return round(float(self._stream.duration * self._time_base) * self.rate)
            if self._container.duration:
                return round(self._container.duration / self._av.time_base * self.rate)
        self._has_moved = True
        packets = self._packets()
        first = next(packets)
        if self._behaviour.is_adts and first.pos is not None:
            self._adts = index_adts(path, first.pos)
        if self._adts:
            return self._adts.first_sample(len(self._adts.starts), self.rate)
        ticks = sum(packet.duration or 0 for packet in itertools.chain([first], packets))
        return round(float(ticks * self._time_base) * self.rate)

    def blocks(self, start: int, stop: int | None) -> Iterator[npt.NDArray[np.float32]]:
        """See Reader. Raises ReaderError after too many bad packets."""
        return map(replace_non_finite, self._mixed(start, stop, 1.0))

    def read_into(self, out: npt.NDArray[np.int16], start: int) -> int:
        """See Reader."""
        expected = min(len(out), self.frames - start)
        return fill_mono(out[:expected], self._mixed(start, start + expected, INT16_SCALE))

    def close(self) -> None:
        """Close the file."""
        self._container.close()

    def _mixed(self, start: int, stop: int | None, full_scale: float) -> Iterator[npt.NDArray[np.float32]]:
        """Mono blocks (n,) of frames `start` to `stop`, or to the end. full_scale: see worker.decode.downmix.mix."""
        for number, (frame, position) in enumerate(self._decode(start, stop)):
            if not number and start < position <= start + self._lost_frames:
                yield np.zeros(position - start, np.float32)
            yield _part(self._mono(frame, full_scale), position, start, stop)

    def _mono(self, frame: "AudioFrame", full_scale: float) -> npt.NDArray[np.float32]:
        """The frame's channels, mixed to mono (n,).

        Planes are constructed here, since PyAV's `frame.planes` has planes that do not exist where channels are 8.
        """
        dtype, plane, samples = numpy_dtype(frame.format.name), self._av.audio.plane.AudioPlane, frame.samples
        if not frame.format.is_planar:
            interleaved = np.frombuffer(memoryview(plane(frame, 0)), dtype, samples * self._stream_channels)
            return mix(interleaved.reshape(-1, self._stream_channels), full_scale)
        numbers = range(self._stream_channels)
        planes = [np.frombuffer(memoryview(plane(frame, number)), dtype, samples) for number in numbers]
        return mix_planes(planes, full_scale)

    def _decode(self, start: int, stop: int | None) -> Iterator[tuple["AudioFrame", int]]:
        """PyAV's frames that hold what is between `start` and `stop`, or the end; and the position of each.

        Many small frames are joined to one of about FIFO_BYTES. The first and the last may reach beyond the limits.
        """
        self._seek(start)
        frames = self._decoded_frames()
        first = next(frames, None)
        if first is None:
            return
        position, count = self._position(first, start), 0  # `count` samples are in the FIFO, the first at `position`.
        fifo = self._av.AudioFifo()
        room, end = max(1, FIFO_BYTES // (4 * self._stream_channels)), math.inf if stop is None else stop
        for frame in itertools.chain([first], frames):
            samples = frame.samples
            if not samples or (not count and position + samples <= start):  # The frame belongs to the pre-roll.
                position += samples
                continue
            self._write(frame, fifo)
            count += samples
            if count >= room or position + count >= end:
                yield _read_all(fifo), position
                position, count = position + count, 0
                if position >= end:
                    return
        if count:
            yield _read_all(fifo), position

    def _write(self, frame: "AudioFrame", fifo: "AudioFifo") -> None:
        """Append a frame to the FIFO. Raises ReaderError when it is of another kind than the frames before it."""
        channels = frame.layout.nb_channels
        if channels != self._stream_channels:  # The FIFO would crash.
            raise ReaderError(f"the channels change from {self._stream_channels} to {channels} in the file")
        if frame.sample_rate != self.rate:  # The FIFO would not notice.
            raise ReaderError(f"the sample rate changes from {self.rate} to {frame.sample_rate} Hz in the file")
        frame.pts = None  # The FIFO would refuse gaps between times. Samples are counted instead.
        try:
            fifo.write(frame)
        except ValueError as error:
            raise ReaderError(f"the sample format changes in the file: {error}") from error

    def _seek(self, start: int) -> None:
        """Seek to the pre-roll of this frame. Raises ReaderError."""
        if not start and not self._has_moved:
            return
        self._has_moved = True
        target_s = 0.0 if self._behaviour.from_start else start / self.rate - self._pre_roll_s
        try:
            if self._adts:  # FFmpeg would read all packets before the target.
                byte = self._adts.starts[self._adts.frame_at(target_s)]
                self._container.seek(byte, stream=self._stream, unsupported_byte_offset=True)
                return
            ticks = int(max(0.0, target_s) / self._time_base)
            self._container.seek(self._origin + ticks, stream=self._stream, backward=True)
        except (self._av.FFmpegError, OverflowError) as error:  # FFmpeg speaks of permissions, whatever is wrong.
            raise ReaderError(f"cannot seek to {start / self.rate:.1f} s") from error

    def _position(self, frame: "AudioFrame", start: int) -> int:
        """The position of the first frame that was decoded after the seek to `start`."""
        if self._adts:
            return self._adts.first_sample(self._adts.frame_at(start / self.rate - self._pre_roll_s), self.rate)
        if frame.pts is None:  # Nothing says it: then the seek is trusted to have found its target.
            return 0 if self._behaviour.from_start else max(0, start - round(self._pre_roll_s * self.rate))
        time_base = frame.time_base or self._time_base
        ticks = frame.pts - self._origin * float(self._time_base / time_base)
        return round(float(time_base) * ticks * self.rate) - self._late_frames

    def _decoded_frames(self) -> Iterator["AudioFrame"]:
        """Decoded frames of the stream. Bad packets are left out.

        Raises ReaderError when there are too many of these, or not a single frame.
        """
        self._has_moved = True
        good = bad = 0
        for packet in self._packets():
            try:
                frames = packet.decode()
            except self._av.error.EOFError:
                return
            except self._av.FFmpegError as error:
                bad += 1
                if bad > MAX_BAD_PACKETS or (packet.size == 0 and not good):
                    raise to_reader_error(error) from error
                continue
            good += len(frames)
            yield from frames
        if bad and not good:
            raise ReaderError(f"{bad} bad packets and nothing else")

    def _packets(self) -> Iterator["Packet[AudioStream]"]:
        """Packets of the stream, then the empty one that flushes the decoder. Unreadable stretches are left out.

        Raises ReaderError when there are too many of these.
        """
        for _ in range(MAX_BAD_PACKETS):
            try:
                yield from self._container.demux(self._stream)
                return
            except self._av.FFmpegError as error:
                reason = to_reader_error(error)
        raise reason


def _read_all(fifo: "AudioFifo") -> "AudioFrame":
    """All samples of a FIFO that has some, as one frame."""
    return cast("AudioFrame", fifo.read())  # It is None only where the FIFO is empty.


def _part(block: npt.NDArray[np.float32], position: int, start: int, stop: int | None) -> npt.NDArray[np.float32]:
    """The part between frames `start` and `stop` of a block that begins at frame `position`."""
    return block[max(0, start - position) : None if stop is None else max(0, stop - position)]
