"""Readers of audio files: each satisfies worker.decode.readers.base.Reader, through one library.

libsndfile      WAV, FLAC, AIFF and MP3, exact to the frame
libmpg123       MP3 in less time, where the system has libmpg123; its index is made by mp3_frames
ffmpeg          everything else, Vorbis and Opus, and files that are damaged in the middle; what each codec needs is
                in ffmpeg_codecs, and the index of AAC in ADTS is made by adts
"""
