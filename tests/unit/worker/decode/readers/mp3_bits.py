"""MP3 frames, built bit by bit after ISO/IEC 11172-3 and 13818-3."""

import os

MPEG_1, MPEG_2, MPEG_25, RESERVED_VERSION = 0b11, 0b10, 0b00, 0b01
LAYER_1, LAYER_2, LAYER_3 = 0b11, 0b10, 0b01
STEREO, JOINT, DUAL, MONO = 0b00, 0b01, 0b10, 0b11
KBIT_128 = 0b1001  # Of MPEG-1, layer III.
SIZE_128 = 417  # 144 * 128,000 / 44,100 = 417.96 bytes, without padding.


def header(version=MPEG_1, layer=LAYER_3, no_checksum=1, bit_rate=KBIT_128, rate=0, padding=0, mode=STEREO, sync=0x7FF):
    """The four bytes of a header, its fields written one after another as bits."""
    bits = f"{sync:011b}{version:02b}{layer:02b}{no_checksum:01b}{bit_rate:04b}{rate:02b}{padding:01b}0{mode:02b}000000"
    return int(bits, 2).to_bytes(4, "big")


def frame(size=SIZE_128, **fields):
    return header(**fields) + bytes(size - 4)


def opened(tmp_path, data):
    """The descriptor of a file of these bytes."""
    path = tmp_path / "a.mp3"
    path.write_bytes(data)
    return os.open(path, os.O_RDONLY)
