"""What can be wrong with one track. Each costs that track alone.

TrackError                   code, and one sentence that says what happened and what to do
├── MissingFileError                  the file is gone since it was scanned
├── UnreadableFileError               the operating system refuses to open it
├── NoAudioError                    no bytes, or a header without audio
├── UndecodableError              no decoder makes sense of it
├── SilentError                   nothing audible in it
├── DecodeTimeoutError                 the decoder passed its deadline
├── DecoderCrashedError                  the decoder's process died
├── DecoderOutOfMemoryError              the decoder passed its memory limit
└── UnclassifiableError           the model refused its windows
"""


class TrackError(Exception):
    """A track that cannot be analysed: `code` for machines, the message for people."""

    code = "failed"


class MissingFileError(TrackError):
    code = "missing"


class UnreadableFileError(TrackError):
    code = "unreadable"


class NoAudioError(TrackError):
    code = "empty"


class UndecodableError(TrackError):
    code = "undecodable"


class SilentError(TrackError):
    code = "silent"


class DecodeTimeoutError(TrackError):
    code = "timed_out"


class DecoderCrashedError(TrackError):
    code = "crashed"


class DecoderOutOfMemoryError(TrackError):
    code = "out_of_memory"


class UnclassifiableError(TrackError):
    code = "unclassifiable"


def by_code(code: str, message: str) -> TrackError:
    """The error that crossed a process border as its code and message."""
    kinds = {kind.code: kind for kind in TrackError.__subclasses__()}
    return kinds.get(code, TrackError)(message)
