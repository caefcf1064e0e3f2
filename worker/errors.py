"""What can be wrong with one track. Each of these errors fails that track alone: the job goes on with its other tracks.

TrackError                      base class; not used for anything known
├── MissingFileError            the file is gone since the library was scanned
├── UnreadableFileError         the operating system refuses to open it
├── NoAudioError                the file has no bytes, or a header without audio
├── UndecodableError            no decoder can make sense of it
├── SilentError                 nothing in it is audible
├── DecodeTimeoutError          decoding took longer than its deadline
├── DecoderCrashedError         the decode process died
├── DecoderOutOfMemoryError     the decode process reached its memory limit
└── UnclassifiableError         the model cannot give probabilities for its windows
"""


class TrackError(Exception):
    """A track that cannot be analysed.

    The message is one sentence for people: it names the file, says what happened and what to do about it. `code` is the
    same in one word for machines. It is stored in the database, so a code never changes.
    """

    code = "failed"


class MissingFileError(TrackError):
    """The file does not exist any more: it was deleted or moved since the library was scanned."""

    code = "missing"


class UnreadableFileError(TrackError):
    """The operating system refuses to open the file, or it is not a regular file."""

    code = "unreadable"


class NoAudioError(TrackError):
    """The file has no bytes at all, or a header that is followed by no audio."""

    code = "empty"


class UndecodableError(TrackError):
    """None of the decoders can read the file. The message has the reason that each of them gave."""

    code = "undecodable"


class SilentError(TrackError):
    """The file was decoded, but no window of it is louder than silence."""

    code = "silent"


class DecodeTimeoutError(TrackError):
    """The decode process did not answer before its deadline."""

    code = "timed_out"


class DecoderCrashedError(TrackError):
    """The decode process died while it read the file, or cannot be started."""

    code = "crashed"


class DecoderOutOfMemoryError(TrackError):
    """Decoding the file takes more memory than a decode process may use."""

    code = "out_of_memory"


class UnclassifiableError(TrackError):
    """The model cannot give probabilities for the windows of the track."""

    code = "unclassifiable"


def by_code(code: str, message: str) -> TrackError:
    """Rebuild the error that another process sent as its code and message.

    An unknown code gives a plain TrackError.
    """
    kinds = {kind.code: kind for kind in TrackError.__subclasses__()}
    return kinds.get(code, TrackError)(message)
