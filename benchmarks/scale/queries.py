"""What is asked of the views, as people type it, and how long each answer may take."""

from dataclasses import dataclass

from sqlalchemy import Connection, text

SMALL_TRACKS = 100_000  # Up to so many tracks the best of a genre must come as fast as an album.
ONE_PLACE_S = 0.05  # For an album, a file, a folder.
TOP_S = 0.3  # For the best of a genre among more tracks than SMALL_TRACKS.
WHOLE_S = 1.0  # For what looks at every track.
RARE_ALBUM = """
    SELECT album, artist, path, root, track.id
    FROM track
    JOIN library ON library.id = library_id
    WHERE track.id >= (SELECT max(id) / 2 FROM track) AND album_artist IS NOT NULL AND album <> 'Greatest Hits'
      AND EXISTS (SELECT 1 FROM prediction WHERE track_id = track.id AND status = 'done')
    ORDER BY track.id
    LIMIT 1
"""


@dataclass(frozen=True)
class Query:
    """A query, and the seconds in which it must be answered. None: it is there for comparison."""

    name: str
    sql: str
    limit_s: float | None


def list_queries(connection: Connection) -> list[Query]:
    """The queries about a filled database. The album and the artist that they name are in the middle of it."""
    album, artist, path, root, track_id = connection.execute(text(RARE_ALBUM)).one()
    tracks = connection.execute(text("SELECT count(*) FROM track")).scalar_one()
    top_s = ONE_PLACE_S if tracks <= SMALL_TRACKS else TOP_S
    file = quote(f"{root}/{path}")
    folder = quote(f"{root}/{path}".rpartition("/")[0])
    best = "SELECT path, probability FROM track_genre WHERE genre = 'jazz'{} ORDER BY probability DESC LIMIT 100"
    every = "SELECT * FROM track_genre WHERE genre = 'jazz' ORDER BY probability DESC LIMIT 100"
    tag = "lower(tagged_genre) <> genre"
    return [
        Query("album", f"SELECT * FROM album_genre WHERE album = {quote(album)}", ONE_PLACE_S),
        Query("album's tracks", f"SELECT * FROM track_genre WHERE album = {quote(album)}", ONE_PLACE_S),
        Query("path", f"SELECT * FROM track_genre WHERE path = {file}", ONE_PLACE_S),
        Query("path, best", f"SELECT * FROM track_best WHERE path = {file}", ONE_PLACE_S),
        Query("folder", f"SELECT * FROM track_genre WHERE folder = {folder}", ONE_PLACE_S),
        Query("folder, best", f"SELECT * FROM track_best WHERE folder = {folder}", ONE_PLACE_S),
        Query("track_id", f"SELECT * FROM track_genre WHERE track_id = {track_id}", ONE_PLACE_S),
        Query("top 100", best.format(""), top_s),
        Query("top 100, newest", best.format(" AND is_newest"), top_s),
        Query("top 100, all columns", every, top_s),
        Query("by genre", "SELECT genre, count(*) FROM track_best GROUP BY genre", WHOLE_S),
        Query("tags disagree, how many", f"SELECT count(*) FROM track_best WHERE {tag}", WHOLE_S),
        Query(
            "tags disagree, which", f"SELECT path, tagged_genre, genre FROM track_best WHERE {tag} LIMIT 1000", WHOLE_S
        ),
        Query("by folder", "SELECT folder, genre, count(*) FROM track_best GROUP BY folder, genre", WHOLE_S),
        Query("by artist", "SELECT artist, genre, count(*) FROM track_best GROUP BY artist, genre", WHOLE_S),
        Query("an artist", f"SELECT * FROM track_best WHERE artist = {quote(artist)}", WHOLE_S),
        Query("common album", "SELECT * FROM album_genre WHERE album = 'Greatest Hits'", None),
    ]


def quote(value: str) -> str:
    """A text as SQL has it."""
    return "'" + value.replace("'", "''") + "'"
