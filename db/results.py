"""What people ask of scores: the genres of tracks, the tracks of a genre, and how the collection divides.

Statements are built for each call, since they depend on which conditions of the filter are set.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import TypedDict, cast

from sqlalchemy import Connection, Row, Select, Text, column, func, select, table, type_coerce

from db.filters import SCORED, Filter, match_analysis, match_tracks, select_libraries
from db.tables import Genre, Library, Model, Prediction, Track

PAGE_TRACKS = 500  # Tracks whose genres are read at a time.
PAGE_ROWS = 1000  # Rows of one long answer that are fetched from the database at a time.

SCORE = table("score", *map(column, ("prediction_id", "genre_id", "probability", "rank")))  # A view.


class ResultRow(TypedDict):
    """A genre of a track."""

    path: str  # Absolute, as text.
    title: str | None
    artist: str | None
    album: str | None
    model: str
    coverage: str
    genre: str
    probability: float
    rank: int  # 1 is the most probable genre of the track.


class GenreRow(TypedDict):
    """A genre, and how many tracks have it."""

    model: str
    genre: str
    tracks: int  # Those whose most probable genre it is.
    mean_probability: float  # Over these tracks.


def read_results(connection: Connection, filter: Filter) -> Iterator[ResultRow]:
    """The most probable tracks of the filter's genre, or the most probable genres of each track if it names none.

    Rows are read while they are asked for, so that no more than a page of them is in memory.
    """
    rows = _read_by_path(connection, filter) if filter.genre is None else _read_by_genre(connection, filter)
    return islice(rows, filter.limit)


def _select_facts() -> Select[*tuple[object, ...]]:
    """What a result tells of a track and of its analysis."""
    path = type_coerce(Library.root + b"/" + Track.path, Text).label("path")
    return (
        select(path, Track.title, Track.artist, Track.album, Model.name.label("model"), Prediction.coverage)
        .join(Track, Track.id == Prediction.track_id)
        .join(Library, Library.id == Track.library_id)
        .join(Model, Model.id == Prediction.model_id)
    )


def _read_by_path(connection: Connection, filter: Filter) -> Iterator[ResultRow]:
    """The genres of each track, in the order of the paths."""
    for page in _read_pages(connection, filter):
        scores = _read_scores(connection, filter, [track.prediction_id for track in page])
        for track in page:
            facts = {name: value for name, value in track._mapping.items() if name in ResultRow.__annotations__}
            for score in scores[track.prediction_id]:
                yield cast("ResultRow", facts | score)


def _read_pages(connection: Connection, filter: Filter) -> Iterator[Sequence[Row[*tuple[object, ...]]]]:
    """The facts of the tracks that have scores, PAGE_TRACKS at a time."""
    query = (
        _select_facts()
        .add_columns(Prediction.id.label("prediction_id"), Track.path.label("relative_path"))
        .where(*match_tracks(connection, filter), *match_analysis(connection, filter, SCORED))
        .order_by(Track.path)
        .limit(PAGE_TRACKS)
    )
    for library_id, _ in select_libraries(connection).all():
        of_library = query.where(Track.library_id == library_id)
        page = connection.execute(of_library).all()
        while page:
            yield page
            page = connection.execute(of_library.where(Track.path > page[-1].relative_path)).all()


def _read_scores(
    connection: Connection, filter: Filter, prediction_ids: Sequence[int]
) -> dict[int, list[dict[str, object]]]:
    """The wanted scores of each of these predictions, the most probable first."""
    columns = SCORE.c
    query = (
        select(columns.prediction_id, Genre.name.label("genre"), columns.probability, columns.rank)
        .join(Genre, Genre.id == columns.genre_id)
        .where(columns.prediction_id.in_(prediction_ids), Genre.kind == filter.kind, columns.rank <= filter.top)
        .where(columns.probability >= filter.min_probability)
        .order_by(columns.rank)
    )
    scores = defaultdict(list)
    for prediction_id, genre, probability, rank in connection.execute(query):
        scores[prediction_id].append({"genre": genre, "probability": probability, "rank": rank})
    return scores


def _read_by_genre(connection: Connection, filter: Filter) -> Iterator[ResultRow]:
    """The tracks of the filter's genre, the most probable first."""
    columns = SCORE.c
    most_probable = (
        select(columns.prediction_id, Genre.name.label("genre"), columns.probability, columns.rank)
        .join(Genre, Genre.id == columns.genre_id)
        .join(Prediction, Prediction.id == columns.prediction_id)
        .join(Track, Track.id == Prediction.track_id)
        .join(Library, Library.id == Track.library_id)
        .where(func.lower(Genre.name) == func.lower(filter.genre), Genre.kind == filter.kind)
        .where(columns.probability >= filter.min_probability)
        .where(*match_tracks(connection, filter), *match_analysis(connection, filter, SCORED))
        .order_by(columns.probability.desc(), columns.prediction_id)
        .limit(filter.limit)
        .subquery()
    )
    scores = most_probable.c
    query = (
        _select_facts()
        .join(most_probable, scores.prediction_id == Prediction.id)
        .add_columns(scores.genre, scores.probability, scores.rank)
        .order_by(scores.probability.desc(), Library.root, Track.path)
        .execution_options(yield_per=PAGE_ROWS)
    )
    with connection.execute(query) as rows:
        for row in rows.mappings():
            yield cast("ResultRow", dict(row))


def count_genres(connection: Connection, filter: Filter) -> list[GenreRow]:
    """The genres that the tracks have, by model, those with the most tracks first.

    A track counts for its most probable genre.
    """
    if filter.kind == "genre":
        genre_id, probability = Prediction.first_genre_id.expression, Prediction.first_probability.expression
        query = select().select_from(Prediction)
    else:
        genre_id, probability = SCORE.c.genre_id, SCORE.c.probability
        query = select().join_from(SCORE, Prediction, Prediction.id == SCORE.c.prediction_id).where(SCORE.c.rank == 1)
    counts = (
        query.add_columns(genre_id.label("genre_id"), func.count().label("tracks"), func.avg(probability).label("mean"))
        .join(Track, Track.id == Prediction.track_id)
        .join(Library, Library.id == Track.library_id)
        .where(*match_tracks(connection, filter), *match_analysis(connection, filter, SCORED))
        .where(probability >= filter.min_probability)
        .group_by(genre_id)
        .subquery()
    )
    named = (
        select(Model.name.label("model"), Genre.name.label("genre"), counts.c.tracks, counts.c.mean)
        .join(Genre, Genre.id == counts.c.genre_id)
        .join(Model, Model.id == Genre.model_id)
        .where(Genre.kind == filter.kind)
        .order_by(Model.name, counts.c.tracks.desc(), counts.c.mean.desc())
        .limit(filter.limit)
    )
    if filter.genre is not None:
        named = named.where(func.lower(Genre.name) == func.lower(filter.genre))
    rows = connection.execute(named)
    return [
        {"model": model, "genre": genre, "tracks": tracks, "mean_probability": mean}
        for model, genre, tracks, mean in rows
    ]
