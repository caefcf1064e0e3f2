"""The scores: their format, what is wrong with a bad one, and the styles there are."""

import pytest

from genremill.sample.harmony import parse_chord, parse_scale
from genremill.sample.styles import STYLES, STYLES_FILE, Part, Style, parse_styles

POLKA = """\
# A comment.
[polka]
genre: Polka & more
bpm: 112.5
chords: C G7
scale: major
beats: 2
humanize_s: 0.01
  # Another comment.
  accordion  0.4  c-c.|m-m-  octave=1 pan=-0.5 wide=yes
  snare      1    .x
"""


def test_a_score_becomes_a_style():
    assert parse_styles(POLKA) == {
        "polka": Style(
            genre="Polka & more",
            bpm=112.5,
            chords=(parse_chord("C"), parse_chord("G7")),
            scale=parse_scale("major"),
            parts=(Part("accordion", 0.4, ("c-c.", "m-m-"), octave=1, pan=-0.5, wide=True), Part("snare", 1, (".x",))),
            beats=2,
            humanize_s=0.01,
        )
    }


@pytest.mark.parametrize(
    ("line", "replacement", "message"),
    [
        (2, "polka", r"line 2: a style starts with its name in square brackets"),
        (3, "", r"line 2: the style 'polka' has no genre"),
        (4, "bpm: fast", r"line 4: .*'fast'"),
        (5, "chords: C H7", r"line 5: no chord 'H7'"),
        (6, "scale: dorian", r"line 6: no scale 'dorian'"),
        (7, "tempo: 2", r"line 7: no setting 'tempo'; there are genre, bpm"),
        (8, "[polka]", r"line 8: a second style 'polka'"),
        (10, "accordion 0.4 c-c.", r"line 10: a part has an instrument, a gain and a pattern"),
        (10, "kazoo  0.4  c-c.", r"line 10: no instrument 'kazoo'; there are kick"),
        (10, "accordion  loud  c-c.", r"line 10: .*'loud'"),
        (10, "accordion  0.4  c-q.", r"line 10: no symbol 'q'"),
        (10, "accordion  0.4  c-c. octave=1", r"line 10: no symbol ' '"),
        (10, "accordion  0.4  c-c.||m", r"line 10: the pattern 'c-c.\|\|m' has an empty bar"),
        (10, "accordion  0.4  c-c.  volume=1", r"line 10: no setting 'volume'; there are octave"),
        (10, "accordion  0.4  c-c.  octave=1.5", r"line 10: .*'1.5'"),
        (10, "accordion  0.4  c-c.  wide=1", r"line 10: no value '1'; write yes"),
    ],
)
def test_what_is_wrong_with_a_score_is_said_with_its_line(line, replacement, message):
    lines = POLKA.splitlines()
    lines[line - 1] = replacement
    with pytest.raises(ValueError, match=f"^styles.txt, {message}"):
        parse_styles("\n".join(lines))


def test_a_style_without_parts_is_refused():
    with pytest.raises(ValueError, match=r"line 2: the style 'polka' has no parts"):
        parse_styles("\n".join(POLKA.splitlines()[:8]))


def test_there_are_27_styles():
    assert len(STYLES) == 27
    assert len({style.genre for style in STYLES.values()}) == 27


def test_no_line_of_the_scores_is_longer_than_120_characters():
    assert all(len(line) <= 120 for line in STYLES_FILE.read_text(encoding="utf-8").splitlines())
