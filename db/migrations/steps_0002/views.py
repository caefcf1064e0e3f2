"""The views of migration 0002."""

from alembic import op

# The folder of a file: the path without what follows the last slash. SQLite's rtrim takes a set of characters off the
# end, here all that are in the path but slashes.
FOLDERS = {
    "sqlite": "rtrim(rtrim(library.root || '/' || track.path, replace(track.path, '/', '')), '/')",
    "postgresql": "regexp_replace(library.root || '/' || track.path, '/[^/]*$', '')",
}
SCORES = {
    "sqlite": """
        SELECT prediction.id AS prediction_id, prediction.track_id, prediction.model_id, prediction.coverage,
               score_row.genre_id, score_row.millionths / 1000000.0 AS probability, score_row.rank
        FROM genre
        CROSS JOIN score_row ON score_row.genre_id = genre.id
        JOIN prediction ON prediction.id = score_row.prediction_id AND prediction.model_id = genre.model_id
    """,
    "postgresql": """
        SELECT prediction.id AS prediction_id, prediction.track_id, prediction.model_id, prediction.coverage,
               genre.id AS genre_id, prediction.probabilities[genre.position] AS probability,
               prediction.ranks[genre.position] AS rank
        FROM prediction
        JOIN genre ON genre.model_id = prediction.model_id
        WHERE prediction.probabilities[genre.position] IS NOT NULL
    """,
}
# These repeat the view `score`, since both databases find a genre's scores faster so.
TAG_COLUMNS = {
    "sqlite": "score_row.millionths / 1000000.0 AS probability, score_row.rank",
    "postgresql": "prediction.probabilities[genre.position] AS probability, prediction.ranks[genre.position] AS rank",
}
TAG_TABLES = {
    # SQLite chooses the order of joins by what it knows of the tables, which may be nothing. So it is told some of it:
    # CROSS JOIN keeps the scores behind the genre that they belong to, and LEFT JOIN the small tables at the end.
    "sqlite": """
        FROM genre
        CROSS JOIN score_row ON score_row.genre_id = genre.id
        JOIN prediction ON prediction.id = score_row.prediction_id AND prediction.model_id = genre.model_id
    """,
    "postgresql": """
        FROM prediction
        JOIN genre ON genre.model_id = prediction.model_id AND prediction.probabilities[genre.position] IS NOT NULL
    """,
}
TRACK_COLUMNS = """
    track.id AS track_id, library.root AS library, {folder} AS folder, library.root || '/' || track.path AS path,
    track.title, track.artist, track.album_artist, track.album, track.year, track.codec, track.duration_s,
    track.tagged_genre, track.first_seen_at, prediction.finished_at, model.name AS model, prediction.coverage
"""
TRACK_TABLES = """
    JOIN track ON track.id = prediction.track_id
    LEFT JOIN library ON library.id = track.library_id
    LEFT JOIN model ON model.id = prediction.model_id
    WHERE prediction.status IN ('done', 'duplicate')
      AND coalesce(track.missing_since, library.missing_since) IS NULL
"""
TRACK_TAG = f"""
    SELECT {TRACK_COLUMNS}, prediction.is_newest, genre.kind, genre.name AS genre, {{tag_columns}}
    {{tag_tables}}
    {TRACK_TABLES}
"""
TRACK_GENRE = """
    SELECT track_id, library, folder, path, title, artist, album_artist, album, year, codec, duration_s, tagged_genre,
           first_seen_at, finished_at, model, coverage, is_newest, genre, probability, rank
    FROM track_tag
    WHERE kind = 'genre'
"""
TRACK_BEST = f"""
    SELECT {TRACK_COLUMNS}, genre.name AS genre, prediction.first_probability AS probability
    FROM prediction
    LEFT JOIN genre ON genre.id = prediction.first_genre_id
    {TRACK_TABLES} AND prediction.is_newest
"""
ALBUM_GENRE = """
    SELECT album, coalesce(album_artist, min(artist)) AS album_artist, min(folder) AS folder, min(year) AS year,
           genre, avg(probability) AS probability, count(*) AS tracks
    FROM track_genre
    WHERE is_newest AND album IS NOT NULL
    GROUP BY album, album_artist, CASE WHEN album_artist IS NULL THEN folder END, genre
"""
VIEWS = {  # In the order in which they need each other.
    "score": "{score}",
    "track_tag": TRACK_TAG,
    "track_genre": TRACK_GENRE,
    "track_best": TRACK_BEST,
    "album_genre": ALBUM_GENRE,
}


def drop_old_views() -> None:
    """Drop the views of migration 0001."""
    op.execute("DROP VIEW track_genre")
    op.execute("DROP VIEW track_tag")


def create_views() -> None:
    """Make the views for people."""
    dialect = op.get_bind().dialect.name
    parts = {
        "score": SCORES[dialect],
        "folder": FOLDERS[dialect],
        "tag_columns": TAG_COLUMNS[dialect],
        "tag_tables": TAG_TABLES[dialect],
    }
    for name, query in VIEWS.items():
        op.execute(f"CREATE VIEW {name} AS {query.format(**parts)}")
