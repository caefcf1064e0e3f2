"""Paths as text: readable, and the same bytes when they come back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from db.paths import path_bytes, path_text


@given(st.binary().map(lambda path: path.replace(b"\0", b"")))
def test_every_path_comes_back(path):
    text = path_text(path)
    text.encode()  # plain UTF-8: no lone surrogates
    assert path_bytes(text) == path


@pytest.mark.parametrize(
    ("path", "text"),
    [("é/日本".encode(), "é/日本"), (b"caf\xe9", r"caf\xe9"), (rb"a\b", r"a\\b"), (rb"\xe9", r"\\xe9")],
)
def test_what_people_see(path, text):
    assert path_text(path) == text
