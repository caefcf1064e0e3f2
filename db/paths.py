r"""How a path, which is bytes, is written as text in the database and for people.

Names of files need not be UTF-8. What is UTF-8 is written as it is. A byte that is not is written \xNN with two
hexadecimal digits, and a backslash of the path itself as \\, so that the text leads back to the same bytes.
"""

LAST_CHARACTER = "\U0010ffff"  # Comes after all others in the order of paths.


def path_text(path: bytes) -> str:
    """The text of a path."""
    return path.replace(b"\\", b"\\\\").decode("utf-8", "backslashreplace")


def path_bytes(text: str) -> bytes:
    """The path of a text that path_text made."""
    parts = text.split("\\\\")
    return b"\\".join(_unescape(part) for part in parts)


def _unescape(text: str) -> bytes:
    """The bytes of a text in which every backslash begins a \\xNN."""
    first, *rest = text.split("\\x")
    return first.encode() + b"".join(bytes([int(part[:2], 16)]) + part[2:].encode() for part in rest)
