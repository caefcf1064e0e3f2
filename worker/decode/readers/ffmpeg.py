"""Readers of audio files: mono float32, or int16 as the file has it, at the file's own rate, from any frame on.

SoundfileReader   wav, flac, aiff, mp3: exact to the frame
FfmpegReader   everything else, Vorbis and Opus (twice as fast here), and what is damaged in the middle
worker.decode.readers.libmpg123       mp3, where the system has libmpg123
"""

import itertools
import math
import os
from collections.abc import Iterator

import numpy as np

from worker.decode.downmix import FULL_SCALE, bounded, dtype_of, mixed, mixed_planes
from worker.decode.readers.adts import adts_index
from worker.decode.readers.base import ReaderError, filled, reader_error

FIFO_BYTES = 1 << 17  # the same of PyAV: with more, it leaves the cache, and malloc gives it back each time
PRE_ROLL_S = 0.5  # decoded and thrown away after a seek: mp3 and aac with SBR are wrong without it
SHORT_PRE_ROLL_S = 0.1  # is enough for some
FROM_START_S = 1e9  # before every place: of formats and codecs (MISPLACED) that FFmpeg finds elsewhere after a seek
WMA_PRE_ROLL = 4  # blocks of WMA: the one a packet begins in and the one that overlaps the next are lost; twice that
BAD_PACKETS = 100
SHORT_PRE_ROLL = ("vorbis", "opus", "flac", "alac", "wavpack", "ape")  # codecs, and AAC of low complexity
MISPLACED = (("ogg", "flac"), ("ogg", "speex"), ("wav", "adpcm_ms"), ("wav", "adpcm_ima_wav"))
COUNTED = ("aac",)  # formats whose duration FFmpeg only guesses, from the first bit rates


class FfmpegReader:
    """A file through PyAV (FFmpeg): its best audio stream. Raises ReaderError when there is none."""

    name = "PyAV"
    channels = 1

    def __init__(self, path: bytes):
        import av  # a third of a child's memory, which most tracks never need

        self._av = av
        self._plane = av.audio.plane.AudioPlane  # Frame.planes has planes that are not there, where channels are 8
        try:
            options = {"protocol_whitelist": "file"}  # a playlist in disguise must not open the network
            self._container = av.open("file:" + os.fsdecode(path), options=options, metadata_errors="ignore")
        except av.FFmpegError as error:
            raise reader_error(error) from error
        try:
            self._choose_stream()
            self.frames = self._count_frames(path)
        except BaseException:
            self._container.close()
            raise

    def _choose_stream(self) -> None:
        stream = self._container.streams.best("audio")
        if stream is None:
            raise ReaderError("no audio stream")
        if not stream.codec_context or not stream.codec_context.sample_rate:
            raise ReaderError("the audio stream has no decoder or no sample rate")
        for other in self._container.streams:
            if other is not stream:
                other.discard = self._av.stream.Discard.all
        stream.codec_context.thread_type, stream.codec_context.thread_count = "NONE", 1
        self._stream, self._moved, self._adts = stream, False, None
        self.rate: int = stream.codec_context.sample_rate
        self._channels: int = stream.codec_context.channels
        self._origin = stream.start_time or 0
        short = stream.codec_context.name in SHORT_PRE_ROLL or stream.profile == "LC"
        self._pre_roll_s = SHORT_PRE_ROLL_S if short else PRE_ROLL_S
        if (self._container.format.name, stream.codec_context.name) in MISPLACED:
            self._pre_roll_s = FROM_START_S
        self._is_wma = stream.codec_context.name in ("wmav1", "wmav2")
        if self._is_wma:
            self._pre_roll_s = WMA_PRE_ROLL * self._wma_block / self.rate

    def _count_frames(self, path: bytes) -> int:
        """Frames by the header, or, where that says nothing sure, by the packets (which is not decoding)."""
        if self._container.format.name not in COUNTED:
            if self._stream.duration:
                return round(float(self._stream.duration * self._stream.time_base) * self.rate)
            if self._container.duration:
                return round(self._container.duration / self._av.time_base * self.rate)
        self._moved = True
        packets = self._packets()
        first = next(packets)
        self._adts = None if first.pos is None else adts_index(path, first.pos)
        if self._adts:
            return self._adts.begin(len(self._adts.starts), self.rate)
        ticks = sum(packet.duration or 0 for packet in itertools.chain([first], packets))
        return round(float(ticks * self._stream.time_base) * self.rate)

    def blocks(self, start: int, stop: int | None) -> Iterator[np.ndarray]:
        """Mono blocks (n,) of frames `start` to `stop`, or to the end; ReaderError after too many bad packets."""
        return map(bounded, self._mixed(start, stop, 1.0))

    def read_into(self, out: np.ndarray, start: int) -> int:
        """See SoundfileReader."""
        wanted = min(len(out), self.frames - start)
        return filled(out[:wanted], self._mixed(start, start + wanted, FULL_SCALE))

    def decoded(self, start: int, stop: int | None) -> Iterator[tuple]:
        """Frames of PyAV, and where they begin, in which lies what is between `start` and `stop`, or the end."""
        self._seek(start)
        at, count, fifo = None, 0, self._av.AudioFifo()  # `at`: where the `count` frames in the fifo begin
        room, last = max(1, FIFO_BYTES // (4 * self._channels)), math.inf if stop is None else stop
        for frame in self._frames():
            if at is None:
                at = self._position(frame, start)
            samples = frame.samples
            if not samples or (not count and at + samples <= start):  # of the pre-roll
                at += samples
                continue
            if frame.layout.nb_channels != self._channels or frame.sample_rate != self.rate:
                raise self._changed(frame)
            frame.pts = None  # the fifo would refuse gaps; frames are counted instead
            try:
                fifo.write(frame)
            except ValueError as error:
                raise ReaderError(f"the sample format changes in the file: {error}") from error
            count += samples
            if count >= room or at + count >= last:
                yield fifo.read(), at
                at, count = at + count, 0
                if at >= last:
                    return
        if count:
            yield fifo.read(), at

    def _mixed(self, start: int, stop: int | None, full_scale: float) -> Iterator[np.ndarray]:
        for number, (frame, at) in enumerate(self.decoded(start, stop)):
            if not number and self._is_wma and start < at <= start + 2 * self._wma_block:
                yield np.zeros(at - start, np.float32)
            yield _windowing(self._mono(frame, full_scale), at, start, stop)

    def _changed(self, frame) -> ReaderError:
        """What the fifo would not notice, and with other channels die of."""
        channels = frame.layout.nb_channels
        if channels != self._channels:
            return ReaderError(f"the channels change from {self._channels} to {channels} in the file")
        return ReaderError(f"the sample rate changes from {self.rate} to {frame.sample_rate} Hz in the file")

    def _mono(self, frame, full_scale: float) -> np.ndarray:
        """What `mixed` is, of an audio frame of PyAV."""
        dtype, plane = dtype_of(frame.format.name), self._plane
        if not frame.format.is_planar:
            samples = np.frombuffer(plane(frame, 0), dtype, frame.samples * self._channels)
            return mixed(samples.reshape(-1, self._channels), full_scale)
        samples = frame.samples
        planes = [np.frombuffer(plane(frame, number), dtype, samples) for number in range(self._channels)]
        return mixed_planes(planes, full_scale)

    def _seek(self, start: int) -> None:
        if not start and not self._moved:
            return
        self._moved = True
        sought_s = start / self.rate - self._pre_roll_s
        try:
            if self._adts:  # FFmpeg would read all that is before
                byte = self._adts.starts[self._adts.number(sought_s)]
                self._container.seek(byte, stream=self._stream, unsupported_byte_offset=True)
                return
            ticks = int(max(0.0, sought_s) / self._stream.time_base)
            self._container.seek(self._origin + ticks, stream=self._stream, backward=True)
        except (self._av.FFmpegError, OverflowError) as error:  # its own words are of permissions, whatever is wrong
            raise ReaderError(f"cannot seek to {start / self.rate:.1f} s") from error

    def _position(self, frame, start: int) -> int:
        if self._adts:
            return self._adts.begin(self._adts.number(start / self.rate - self._pre_roll_s), self.rate)
        if frame.pts is None:
            return max(0, start - round(self._pre_roll_s * self.rate))
        ticks = frame.pts - self._origin * float(self._stream.time_base / frame.time_base)
        position = round(float(frame.time_base) * ticks * self.rate)
        return position - self._wma_block if self._is_wma else position  # measured: FFmpeg's clock is a block late

    @property
    def _wma_block(self) -> int:
        """Frames in a block of WMA, by `ff_wma_get_frame_len_bits` of FFmpeg."""
        return 512 if self.rate <= 16_000 else 1024 if self.rate <= 22_050 else 2048

    def _frames(self) -> Iterator:
        """Decoded frames, around bad packets; ReaderError when there are too many of these, or no
        frame at all."""
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
                    raise reader_error(error) from error
                continue
            good += len(frames)
            yield from frames
        if bad and not good:
            raise ReaderError(f"{bad} bad packets and nothing else")

    def _packets(self) -> Iterator:
        """Packets of the stream, then the empty one that flushes the decoder; unreadable stretches are left out."""
        for _ in range(BAD_PACKETS):
            try:
                yield from self._container.demux(self._stream)
                return
            except self._av.FFmpegError as error:
                last = reader_error(error)
        raise last

    def close(self) -> None:
        """Close the file."""
        self._container.close()


def _windowing(block: np.ndarray, at: int, start: int, stop: int | None) -> np.ndarray:
    """The part of a block that begins at frame `at` which lies between `start` and `stop`."""
    return block[max(0, start - at) : None if stop is None else max(0, stop - at)]
