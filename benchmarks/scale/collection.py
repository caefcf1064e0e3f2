"""A collection of music that does not exist: its artists, albums and tracks, in the order in which a scan meets them.

The same seed makes the same collection. Blocks of it are made one after the other, so that it never is in memory whole.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.random import Generator, default_rng

BLOCK_ALBUMS = 1000  # How many albums are made at a time.
ALBUM_TRACKS = 12
MAX_ARTIST_ALBUMS = 200  # The numbers of albums follow Zipf's law, which knows no end.
ZIPF = 1.7  # Its exponent, with which artists have some 10 albums on average.
UNTAGGED_ALBUMS = 0.05  # The part of albums whose files have no tags.
BEST_OF_ALBUMS = 0.002  # The part of albums that share one title.
WITH_ALBUM_ARTIST = 0.6  # The part of albums whose tags name the album's artist.
WITH_TAGGED_GENRE = 0.6  # The part of tracks.
COPIES = 0.02  # The part of tracks that have the same audio as an earlier one.
FAILURES = 0.01  # The part of tracks that cannot be analysed.
SYLLABLES = [a + b for a in "bdfgklmnprstvzhj" for b in ("a", "e", "i", "o")]


class Track(NamedTuple):
    """A file, without what the database says of it."""

    path: str  # Relative to the root of the library.
    audio_hash: int
    duration_s: float
    title: str | None
    artist: str | None
    album_artist: str | None
    album: str | None
    year: int | None
    genre: int  # The position of the label that suits it best, from 0.
    tagged_genre: bool  # Whether its tags name a genre.


@dataclass(frozen=True)
class Block:
    """Some tracks that follow each other."""

    first: int  # The number of its first track, from 0.
    tracks: list[Track]
    original: np.ndarray  # For each track the index of the one that it is a copy of, and -1 for those that are none.
    failed: np.ndarray  # Whether it cannot be analysed.


class Album(NamedTuple):
    """An album, and the number of its artist."""

    number: int
    artist: int
    genre: int


def make_blocks(tracks: int, labels: int, seed: int) -> Iterator[Block]:
    """A collection of so many tracks, block by block. Their genres are positions of this many labels."""
    rng = default_rng(seed)
    albums = make_albums(rng, labels)
    for first in range(0, tracks, BLOCK_ALBUMS * ALBUM_TRACKS):
        made = [track for _ in range(BLOCK_ALBUMS) for track in make_tracks(next(albums), rng)][: tracks - first]
        original, failed = choose_copies(len(made), rng), rng.random(len(made)) < FAILURES
        failed &= (original < 0) & ~np.isin(np.arange(len(made)), original)
        copied = [
            track if source < 0 else track._replace(audio_hash=made[source].audio_hash)
            for track, source in zip(made, original, strict=True)
        ]
        yield Block(first, copied, original, failed)


def make_albums(rng: Generator, labels: int) -> Iterator[Album]:
    """Albums without end. Those of an artist follow each other, and are of one genre."""
    popularity = 1 / np.arange(1, labels + 1)
    number = artist = 0
    while True:
        genre = int(rng.choice(labels, p=popularity / popularity.sum()))
        for _ in range(min(rng.zipf(ZIPF), MAX_ARTIST_ALBUMS)):
            yield Album(number, artist, genre)
            number += 1
        artist += 1


def make_tracks(album: Album, rng: Generator) -> Iterator[Track]:
    """The tracks of an album."""
    has_tags, has_album_artist, is_best_of = rng.random(3) < (1 - UNTAGGED_ALBUMS, WITH_ALBUM_ARTIST, BEST_OF_ALBUMS)
    artist = make_name(album.artist, 3, 2)
    title = "Greatest Hits" if is_best_of else make_name(album.number, 2, 3)
    folder = f"{artist}/{title}{f' {album.number}' if is_best_of else ''}"
    year = int(rng.integers(1955, 2026))
    hashes = rng.integers(-(2**63), 2**63, ALBUM_TRACKS).tolist()
    durations = rng.normal(235, 50, ALBUM_TRACKS).clip(30).round(3).tolist()
    tagged = (rng.random(ALBUM_TRACKS) < WITH_TAGGED_GENRE).tolist()
    for index in range(ALBUM_TRACKS):
        name = make_name(album.number * ALBUM_TRACKS + index, 3, 2)
        yield Track(
            path=f"{folder}/{index + 1:02} {name}.flac",
            audio_hash=hashes[index],
            duration_s=durations[index],
            title=name if has_tags else None,
            artist=artist if has_tags else None,
            album_artist=artist if has_tags and has_album_artist else None,
            album=title if has_tags else None,
            year=year if has_tags else None,
            genre=album.genre,
            tagged_genre=tagged[index] and bool(has_tags),
        )


def make_name(number: int, *lengths: int) -> str:
    """Words of so many syllables. Different numbers have different names, which follow each other in no order."""
    mixed = (number + 1) * 387_420_489 % len(SYLLABLES) ** sum(lengths)
    words = []
    for length in lengths:
        word = ""
        for _ in range(length):
            mixed, index = divmod(mixed, len(SYLLABLES))
            word += SYLLABLES[index]
        words.append(word.capitalize())
    return " ".join(words)


def choose_copies(tracks: int, rng: Generator) -> np.ndarray:
    """For each of these tracks the index of the one before it that it is a copy of, or -1. No copy has copies."""
    original = np.full(tracks, -1)
    copies = np.flatnonzero(rng.random(tracks) < COPIES)
    copies = copies[copies > 0]
    sources = (rng.random(len(copies)) * copies).astype(int)
    are_free = ~np.isin(sources, copies)
    original[copies[are_free]] = sources[are_free]
    return original


def make_probabilities(block: Block, labels: int, rng: Generator) -> np.ndarray:
    """Probabilities (tracks, labels) in millionths, as a network for tags gives them: most are small."""
    tracks = len(block.tracks)
    logits = rng.normal(-4.5, 1.4, (tracks, labels)) - np.linspace(0, 1.5, labels)
    logits[np.arange(tracks), [track.genre for track in block.tracks]] += 3.5
    millionths = np.rint(1e6 / (1 + np.exp(-logits))).astype(np.int64)
    is_copy = block.original >= 0
    millionths[is_copy] = millionths[block.original[is_copy]]
    return millionths


def rank(millionths: np.ndarray, kinds: list[str]) -> np.ndarray:
    """The rank of each probability among those of the same track and kind: 1 is the most probable."""
    ranks = np.empty_like(millionths)
    for kind in set(kinds):
        columns = np.flatnonzero([other == kind for other in kinds])
        order = np.argsort(-millionths[:, columns], axis=1, kind="stable")
        np.put_along_axis(ranks, columns[order], np.arange(1, len(columns) + 1), axis=1)
    return ranks
