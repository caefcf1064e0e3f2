"""One filter for results, genres and errors: they agree about which tracks are wanted."""

import pytest

from db import reports, results
from db.filters import Filter
from db.paths import path_bytes
from tests.integration.rows import claim, finish, outcomes, plan, put_job, put_tracks, record

ROOTS = (b"/m", b"/m2", b"/m/x", b"/M", b"/m%", b"/m_", b"/", b"/caf\xe9", "/café".encode(), b"/back\\slash")
INSIDE = {  # A root, and the roots of the libraries that lie in it.
    b"/m": {b"/m", b"/m/x"},
    b"/m/": {b"/m", b"/m/x"},
    b"/m2": {b"/m2"},
    b"/m/x": {b"/m/x"},
    b"/M": {b"/M"},
    b"/m%": {b"/m%"},
    b"/m_": {b"/m_"},
    b"/": set(ROOTS),
    b"/caf\xe9": {b"/caf\xe9"},
    "/café".encode(): {"/café".encode()},
    b"/back\\slash": {b"/back\\slash"},
    b"/none": set(),
    b"/m/x/000.mp3": set(),
}


def analyse_half(database, root: bytes, **options) -> None:
    """A library of two tracks: 000.mp3 has scores, 001.mp3 has failed."""
    run_id = plan(database, put_tracks(database, [f"{root} one", f"{root} two"], root), **options)
    job = claim(database, put_job(database, run_id))
    done, _ = outcomes(database, job)
    _, failed = outcomes(database, job, error="silent")
    assert record(database, [done, failed]) == 2
    finish(database, job)


@pytest.fixture
def libraries(database):
    for root in ROOTS:
        analyse_half(database, root)
    return database


def read(database, filter) -> tuple[set[bytes], set[bytes]]:
    """The paths of the results and of the errors."""
    with database.read() as connection:
        found = {path_bytes(row["path"]) for row in results.read_results(connection, filter)}
        errors = {row["path"] for row in reports.read_errors(connection, filter)}
    return found, errors


def count(database, filter) -> int:
    """The number of tracks that count_genres counts."""
    with database.read() as connection:
        return sum(row["tracks"] for row in results.count_genres(connection, filter))


def in_roots(*roots: bytes) -> tuple[set[bytes], set[bytes]]:
    return {root + b"/000.mp3" for root in roots}, {root + b"/001.mp3" for root in roots}


def test_a_root_has_what_lies_in_it_and_nothing_that_is_named_alike(libraries):
    for root, inside in INSIDE.items():
        assert read(libraries, Filter(roots=(root,))) == in_roots(*inside), root
        assert count(libraries, Filter(roots=(root,))) == len(inside), root


def test_several_roots_have_what_lies_in_any_of_them(libraries):
    assert read(libraries, Filter(roots=(b"/m2", b"/m/x"))) == in_roots(b"/m2", b"/m/x")
    assert read(libraries, Filter(roots=(b"/m", b"/m/x", b"/none"))) == in_roots(b"/m", b"/m/x")
    assert read(libraries, Filter()) == in_roots(*ROOTS)


@pytest.mark.parametrize(
    ("part", "roots"),
    [
        ("/m2/", {b"/m2"}),
        ("m%/", {b"/m%"}),
        ("m_/", {b"/m_"}),
        ("%", {b"/m%"}),
        ("_", {b"/m_"}),
        ("!", set()),
        ("/X/0", {b"/m/x"}),
        ("/m/0", set()),  # An absolute path in a library is a file or a folder,
        ("/m/x", {b"/m/x"}),
        ("/m", {b"/m", b"/m/x"}),
        ("/m/", {b"/m", b"/m/x"}),
        ("/M2", {b"/m2"}),  # and another one a part of paths.
        ("CAFé", {"/café".encode()}),
        (r"caf\xe9", {b"/caf\xe9"}),
        ("caf\udce9", {b"/caf\xe9"}),
        (r"back\\slash", {b"/back\\slash"}),
        ("0", set(ROOTS)),
        ("", set(ROOTS)),
    ],
)
def test_a_part_of_a_path_is_found_whatever_its_case_and_is_no_pattern(libraries, part, roots):
    assert read(libraries, Filter(path=part)) == in_roots(*roots)
    assert count(libraries, Filter(path=part)) == len(roots)


def test_all_conditions_must_hold(libraries):
    assert read(libraries, Filter(roots=(b"/m",), path="x")) == in_roots(b"/m/x")
    assert read(libraries, Filter(roots=(b"/m2",), path="x")) == (set(), set())
    assert read(libraries, Filter(roots=(b"/m2",), model="model")) == in_roots(b"/m2")
    assert read(libraries, Filter(roots=(b"/m2",), model="other")) == (set(), set())
    assert read(libraries, Filter(roots=(b"/m2",), coverage="full")) == (set(), set())


def test_a_model_and_a_coverage_are_told_from_others(database):
    analyse_half(database, b"/m")
    analyse_half(database, b"/m2", coverage="full")
    analyse_half(database, b"/m3", model="other")
    assert read(database, Filter(model="model")) == in_roots(b"/m", b"/m2")
    assert read(database, Filter(model="other")) == in_roots(b"/m3")
    assert read(database, Filter(coverage="regions")) == in_roots(b"/m", b"/m3")
    assert read(database, Filter(coverage="full")) == in_roots(b"/m2")
    assert count(database, Filter(coverage="full")) == 1
    assert count(database, Filter(model="model")) == 2


def test_no_more_rows_are_given_than_wanted(libraries):
    with libraries.read() as connection:
        assert len(list(results.read_results(connection, Filter(limit=3)))) == 3
        assert len(list(reports.read_errors(connection, Filter(limit=3)))) == 3
        assert len(results.count_genres(connection, Filter(limit=1))) == 1
        assert len(list(results.read_results(connection, Filter(limit=0)))) == 0
        assert len(list(reports.read_errors(connection, Filter(limit=None)))) == len(ROOTS)


def test_what_concerns_scores_does_not_hide_errors(libraries):
    _, errors = read(libraries, Filter(genre="polka", min_probability=1.0, kind="voice", top=0))
    assert errors == in_roots(*ROOTS)[1]


def test_a_genre_is_found_in_the_case_in_which_it_is_written(database):
    """SQLite knows no upper and lower case of letters that are not ASCII."""
    genres = (("ÉLECTRO Pop", "genre"), ("jazz", "genre"), ("happy", "mood"))
    job = claim(database, put_job(database, plan(database, put_tracks(database, ["a"]))))
    record(database, outcomes(database, job, genres=genres))
    for name in ("ÉLECTRO Pop", "ÉlECTRO pOP", "JAZZ"):
        with database.read() as connection:
            (row,) = results.read_results(connection, Filter(genre=name))
        assert row["genre"].upper() == name.upper()


def test_a_file_is_told_from_one_in_a_library_whose_name_begins_alike(database):
    for root in (b"/m", b"/mab"):
        analyse_half(database, root)
    with database.write() as connection:
        of_first = "library_id = (SELECT id FROM library WHERE root = '/m')"
        connection.exec_driver_sql(f"UPDATE track SET path = 'b/000.mp3' WHERE path = '000.mp3' AND {of_first}")
    assert read(database, Filter(path="/mab/000.mp3")) == ({b"/mab/000.mp3"}, set())
