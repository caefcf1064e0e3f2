"""The order that the options of `genremill run` and `genremill enqueue` describe."""

import pytest

import settings
from genremill.commands.options import make_order
from settings import GenremillError


@pytest.fixture
def music(tmp_path):
    folder = tmp_path / "music"
    folder.mkdir()
    return folder


@pytest.fixture
def set_variable(monkeypatch, data_dir):
    """Sets a variable of the environment, for the settings in this process."""

    def set_one(name: str, value: str) -> None:
        monkeypatch.setenv(name, value)
        settings.load.cache_clear()

    return set_one


def order(folders, **options):
    """The order of these folders, with options as they are when none is given."""
    return make_order(folders, **{"model": "", "coverage": "", "exclude": None, "retry": False, **options})


def test_without_options_an_order_is_what_the_settings_say(music, set_variable):
    set_variable("GENREMILL_COVERAGE", "full")
    set_variable("GENREMILL_JOB_TRACKS", "7")
    made = order([music])
    assert made.roots == (music,)
    assert made.checkpoint.name == "musicnn"
    assert (made.coverage, made.job_tracks) == ("full", 7)
    assert (made.exclude, made.queue, made.retry) == ((), None, False)


def test_options_come_before_the_settings(music, set_variable):
    set_variable("GENREMILL_COVERAGE", "full")
    set_variable("GENREMILL_MODEL", "vit_b_16_mel")
    made = order([music], model="musicnn", coverage="regions", exclude=["*.wav", "live"], retry=True, queue="bulk")
    assert made.checkpoint.name == "musicnn"
    assert (made.coverage, made.exclude) == ("regions", ("*.wav", "live"))
    assert (made.queue, made.retry) == ("bulk", True)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"coverage": "half"}, "there is no coverage 'half': use regions or full"),
        ({"coverage": "Full"}, "there is no coverage 'Full'"),
        ({"model": "musicn"}, "musicn"),
        ({"model": "vit_b_16_mel"}, "genremill models fetch vit_b_16_mel"),
    ],
)
def test_what_does_not_exist_is_named(music, data_dir, options, message):
    with pytest.raises(GenremillError) as raised:
        order([music], **options)
    assert message in str(raised.value)


def test_a_folder_that_does_not_exist_is_named(tmp_path, data_dir):
    with pytest.raises(GenremillError, match="nowhere does not exist"):
        order([tmp_path / "nowhere"])
