"""Errors of a track: their codes are stored in databases, and they cross processes by them."""

import pytest

from worker import errors
from worker.errors import TrackError, by_code

CODES = {
    "MissingFileError": "missing",
    "UnreadableFileError": "unreadable",
    "NoAudioError": "empty",
    "UndecodableError": "undecodable",
    "SilentError": "silent",
    "DecodeTimeoutError": "timed_out",
    "DecoderCrashedError": "crashed",
    "DecoderOutOfMemoryError": "out_of_memory",
    "UnclassifiableError": "unclassifiable",
}


def test_codes_are_those_that_databases_have():
    assert {kind.__name__: kind.code for kind in TrackError.__subclasses__()} == CODES


@pytest.mark.parametrize(("name", "code"), CODES.items())
def test_an_error_is_rebuilt_by_its_code(name, code):
    error = by_code(code, "a.mp3: a sentence")
    assert type(error) is getattr(errors, name)
    assert str(error) == "a.mp3: a sentence"


def test_an_unknown_code_is_a_plain_error():
    assert type(by_code("nonsense", "a sentence")) is TrackError
    assert TrackError.code == "failed"


def test_the_tree_in_the_docstring_has_them_all():
    assert all(f"── {name} " in errors.__doc__ for name in CODES)
