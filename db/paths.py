"""How a path, which is bytes, is written as text."""


def path_text(path: bytes) -> str:
    """A path as it stands in the database."""
    return path.replace(b"\\", b"\\\\").decode("utf-8", "backslashreplace")


def path_bytes(text: str) -> bytes:
    """The inverse of path_text."""
    parts = text.split("\\\\")
    return b"\\".join(_unescape(part) for part in parts)


def _unescape(text: str) -> bytes:
    first, *rest = text.split("\\x")
    return first.encode() + b"".join(bytes([int(part[:2], 16)]) + part[2:].encode() for part in rest)
