"""What can be wrong with one track. Each costs that track alone.

TrackError                   code, and one sentence that says what happened and what to do
├── Missing                  the file is gone since it was scanned
├── Unreadable               the operating system refuses to open it
├── Empty                    no bytes, or a header without audio
├── Undecodable              no decoder makes sense of it
├── Silent                   nothing audible in it
├── TimedOut                 the decoder passed its deadline
├── Crashed                  the decoder's process died
├── OutOfMemory              the decoder passed its memory limit
└── Unclassifiable           the model refused its windows
"""


class TrackError(Exception):
    """A track that cannot be analysed: `code` for machines, the message for people."""

    code = "failed"


class Missing(TrackError):
    code = "missing"


class Unreadable(TrackError):
    code = "unreadable"


class Empty(TrackError):
    code = "empty"


class Undecodable(TrackError):
    code = "undecodable"


class Silent(TrackError):
    code = "silent"


class TimedOut(TrackError):
    code = "timed_out"


class Crashed(TrackError):
    code = "crashed"


class OutOfMemory(TrackError):
    code = "out_of_memory"


class Unclassifiable(TrackError):
    code = "unclassifiable"


def by_code(code: str, message: str) -> TrackError:
    """The error that crossed a process border as its code and message."""
    kinds = {kind.code: kind for kind in TrackError.__subclasses__()}
    return kinds.get(code, TrackError)(message)
