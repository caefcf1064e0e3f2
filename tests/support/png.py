"""What PNG files look like."""

from pathlib import Path

SIGNATURE = b"\x89PNG\r\n\x1a\n"  # The first bytes of every PNG file.


def is_png(file: Path) -> bool:
    """Whether a file is a PNG file, by its first bytes."""
    return file.read_bytes().startswith(SIGNATURE)
