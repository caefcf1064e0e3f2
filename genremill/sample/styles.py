"""The styles, and a track in one of them."""

import json
import re
from zlib import crc32

import numpy as np

from genremill.sample.sequencer import Part, Style

# A style: name, genre for the tags, beats a minute, chords, scale of melodies; below it voice, gain and pattern of its
# parts; behind both what differs from the defaults of Style and Part. Columns are two spaces apart.
SCORES = """
techno  Techno  133  Am Am Am F  minor  loose_s=0
    kick        1.1   x...x...x...x...                    room=0.03
    hat         0.4   ..x...x...x..ox.
    clap        0.3   ....x.......x..o
    acid        0.5   0.03..0.2.03.0.1                    octave=-1 echo=0.3 pump=0.5
    stab        0.2   ...c......c.....                    octave=1 echo=0.5 room=0.4 pump=0.5

house  House  124  Fm9 Fm9 Ebmaj7 Cm7  minor  loose_s=0.001
    kick        1     x...x...x...x...                    room=0.02
    clap        0.4   ....x.......x...
    open hat    0.3   ..x...x...x...x.                    pan=0.2
    shaker      0.15  x.xxx.xxx.xxx.xx                    pan=-0.4
    synth bass  0.6   ..0-..0-..0-..3-                    octave=-1 pump=0.4
    drawbars    0.12  c..c..c...c..c..                    octave=1 room=0.3 pump=0.6
    singer      0.3   ........m--.m---|................   octave=1 echo=0.4 room=0.4

drum and bass  Drum & Bass  174  Dm Dm Bb C  minor  loose_s=0.002
    kick        1     x.........x.....
    snare       0.8   ....x.......x...|....x..o.o..x..o
    hat         0.3   x.x.x.xxx.x.xxx.                    pan=0.2
    reese       0.5   0-----0-..0-----|0-------..3-2-..   octave=-1
    pad         0.15  c---------------                    octave=1 room=0.5

ambient  Ambient  60  Cmaj7 Am9 Fmaj7 Am9  major  reverb_s=4 loudness=0.1
    pad         0.3   c---------------                    wide=1 room=0.6
    dark pad    0.4   0---------------                    octave=-1 room=0.4
    glass       0.12  ....m-------m---|m-----------....   octave=1 echo=0.6 room=0.8

folk  Folk  109  G Em C D  major  loose_s=0.01 reverb_s=0.4 loudness=0.075
    guitar      0.7   0.4.3.5.2.4.3.5.                    octave=1 pan=-0.2 room=0.05
    guitar      0.1   g-------....g---                    pan=0.4 strum_s=0.018 room=0.1
    flute       0.03  ................|m---m---m-------   octave=1 room=0.3

metal  Metal  209  E5 E5 G5 F5  minor  reverb_s=1.7 loudness=0.2
    rock kick   2.5   xxxxxxxxxxxxxxxx                    room=0.43
    rock snare  1.6   ....x.......x...                    room=0.74
    crash       0.09  x...x...x...x...                    pan=-0.3 room=0.22
    wash        0.07  x.x.x.x.x.x.x.x.                    room=0.61
    electric    0.77  p-p-p-p-p-p-p-p-                    octave=-1 wide=1 drive=42 room=0.02
    fuzz        0.35  p---p-p-p---p---                    wide=1 drive=16 room=0.13
    pick bass   0.93  0000.0000.00000-                    octave=-2 drive=1.5 room=0.55

punk  Punk  184  A D E D  major  loose_s=0.008 loudness=0.22
    rock kick   1.5   x...x.x.x...x.x.                    room=0.3
    rock snare  1.5   ..x...x...x...x.                    room=0.6
    crash       0.2   x...x...x...x...                    room=0.4
    wash        0.07  x...x...x...x...                    room=0.4
    electric    0.9   p-p-p-p-p-p-p-p-                    octave=-1 wide=1 drive=12 room=0.05
    fuzz        0.3   p-------p-------                    wide=1 drive=9 room=0.2
    pick bass   0.8   0-0-0-0-0-0-0-0-                    octave=-2 drive=1.6 room=0.5
    crooner     0.3   m-m-m---m-m-m---|m-m-m-m-m-------   drive=1.5 room=0.3

rock  Rock  122  A G D A  blues  loose_s=0.006 reverb_s=1.8 loudness=0.19
    rock kick   0.4   x.....x.x.......|x.....x.x.x.....
    rock snare  3.0   ....x.......x...                    room=0.6
    hat         0.1   x.x.x.x.x.x.x.x.                    pan=0.3
    crash       0.6   x...............|................   pan=-0.3 room=0.02
    wash        0.07  x...x...x...x...                    room=0.02
    electric    0.4   p-------p-------                    wide=1 drive=4 room=0.3
    electric    2.2   ........m-m-m---|m---m-m-m-------   octave=1 drive=4.6 echo=0.3 room=1.3
    pick bass   0.3   0-0-0-0-0-0-3-2-                    octave=-1 room=0.6
    crooner     0.2   m---m-m-m-------|................   room=0.9

piano ballad  Piano  58  C G Am F  major  loose_s=0.012 reverb_s=1.8 loudness=0.14
    piano       0.25  0-2-4-2-3-2-4-2-                    room=0.4
    piano       0.2   0-------0-------                    room=0.8
    piano       1.0   m-----m-m---m---|m-------m-m-----   octave=1 room=0.6

orchestra  Classical  76  Dm Bb Gm A Dm F C A  full  loose_s=0.015 reverb_s=2.6 loudness=0.12
    strings     0.2   c---------------                    octave=1 wide=1 room=0.5
    cello       0.4   0-------0---2---                    octave=-1 pan=0.3 room=0.4
    strings     0.25  m-----m-m---m---                    octave=2 pan=-0.3 room=0.5
    horn        0.25  ........0---2---                    pan=0.2 room=0.6
    tom         0.3   x...............                    room=0.5

jazz  Jazz  152  Dm7 G7 Cmaj7 A7  full  loose_s=0.01 loudness=0.14
    ride        0.22  x..x.xx..x.x                        pan=0.3
    brush       0.2   ...x.....x..
    upright     0.8   0--1--2--3--|3--2--1--0--           octave=-1
    piano       0.3   ...c.......c|c....c......           pan=-0.3
    sax         0.3   m--m.mm----m|m----m...m--|m-mm-mm----- octave=1 room=0.25

blues  Blues  82  E7 E7 A7 E7 B7 A7 E7 B7  blues  loose_s=0.012 reverb_s=0.41 loudness=0.06
    soft kick   0.53  x..x..x..x..                        room=0.4
    snare       1     ...x.....x..                        room=0.85
    ride        1     x.xx.xx.xx.x                        pan=0.3 room=0.02
    bass        0.35  0--1--2--3--                        octave=-1 room=0.6
    electric    0.15  m-mm--m-....|....m-m-m---           octave=1 pan=-0.2 drive=2.5 room=0.3
    harmonica   0.1   ............|m--m-mm-----           octave=1 room=1.5

reggae  Reggae  76  Am Dm Am Em  minor  loose_s=0.008
    rock kick   0.9   ........x.......
    rim         0.7   ........x.......
    hat         0.25  x.x.x.xox.x.x.xo                    pan=0.3
    muted       0.7   ....g.......g...                    pan=-0.3 strum_s=0.008
    drawbars    0.12  ....c.c.....c.c.                    pan=0.3
    bass        1     0--0--2-..3-2-0-|0-----....2-3-2-   octave=-1 room=0.02
    crooner     0.3   m---m-m-m---....|................   room=0.2

hip hop  Hip-Hop  91  Dm9 Dm9 Gm7 Am7  minor  loose_s=0.01 loudness=0.3
    boom        1.8   x......x..x.....|x..x......x..x..   room=0.3
    snare       0.3   ....X.......X...                    room=0.2
    hat         0.29  x.xxx.x.x.xxx.x.                    pan=0.2 room=0.5
    sub         0.45  0------3..0-----                    octave=-2 room=0.36
    crackle     0.6   o..x.o.....o..o.|..o....x.o......   room=1.5
    crooner     0.55  mmm.mm.mmmm.m.m.|mm.mmm.m.mmmm...   room=0.5

funk  Funk  108  E9 E9 A9 E9  blues  reverb_s=0.74 loudness=0.11
    rock kick   1.1   x..x..x...x.....|x..x......x..x..   room=1.2
    snare       0.5   ....x..o.o..x..o                    room=0.35
    slap        1.5   0..3.0.2..0.13..|0..30..3.20..1..   octave=-1 room=0.5
    muted       0.5   cc.ccc.cc.c.cc.c                    pan=-0.4 strum_s=0.005 room=1
    clavinet    0.3   ..0.3..2.0..3.1.                    pan=0.4
    brass       0.1   ........c-.c....|................   octave=1 room=0.3

synth pop  Synth-pop  122  Am F C G  major  loose_s=0.001 reverb_s=2 loudness=0.1
    kick        0.56  x...x...x...x...                    room=0.67
    rock snare  0.92  ....x.......x...                    room=0.6
    hat         0.7   x.x.x.x.x.x.x.x.                    room=0.54
    synth bass  0.17  0.3.0.3.0.3.0.3.                    octave=-1 room=1.2
    supersaw    0.42  c-----c-..c-----                    octave=1 wide=1 room=0.65
    singer      0.1   m-m-m---m-m-m---                    octave=1 room=0.56

chiptune  Chiptune  150  C Am F G  full  loose_s=0 loudness=0.15
    chip        0.4   m.mmm.m.m.mmm-..                    octave=1 pan=0.2 room=0
    chip pulse  0.25  0123012301230123                    octave=1 pan=-0.2 room=0
    chip bass   0.6   0.0.3.0.0.0.3.2.                    octave=-1 room=0
    blip        0.4   o...x...o...x.x.                    room=0

choir  Choral  58  F Dm Bb C F Am Gm C  full  loose_s=0.03 reverb_s=3.5 loudness=0.11
    choir       0.3   c-------c-------                    octave=1 wide=1 room=0.7
    deep choir  0.5   0-------2-------                    room=0.6
    choir       0.25  m---m---m-------                    octave=1 pan=-0.3 room=0.8

organ  Organ  72  Dm Gm A Dm Bb Gm A D  full  reverb_s=4 loudness=0.12
    pipes       0.2   0-3-2-3-4-3-2-3-|m-m-m-m-m-m-m---   octave=1 room=0.6
    pipes       0.12  c-------c-------                    room=0.6
    pipes       0.25  0---------------                    octave=-1 room=0.5

bossa nova  Bossa Nova  106  Dm9 G7 Cmaj7 A7  full  loose_s=0.008 reverb_s=0.8 loudness=0.15
    shaker      0.3   x.xxx.xxx.xxx.xx                    pan=0.4 room=0.6
    nylon       0.15  c..c..c.c..c..c.|..c..c..c.c..c..   strum_s=0.006 room=0.5
    upright     0.2   0-----2-2-----0-                    octave=-1 room=0.9
    flute       0.34  m---m-m-----m---|m-------........   octave=1 room=0.44

country  Country  129  G C G D  major  loose_s=0.008 loudness=0.13
    soft kick   0.7   x.......x.......                    room=1.2
    brush       0.23  ....x.x.....x.xx                    room=0.9
    bass        0.5   0-------2-------
    guitar      0.64  ....g.g.....g.g.                    pan=0.4 strum_s=0.012 room=1.1
    banjo       0.28  0.3.2.4.3.2.0.2.                    octave=2 pan=-0.4 room=0.5
    twang       1.1   m-m-m-m-m---....|....m-m-m-m-m---   pan=-0.1 room=0.4
    crooner     0.86  m---m-m-m-------|m---m---........   room=0.5

trance  Trance  138  Am F G Em  minor  loose_s=0 loudness=0.22
    kick        1     x...x...x...x...                    room=0.02
    clap        0.4   ....x.......x...
    open hat    0.3   ..x...x...x...x.                    pan=0.2
    synth bass  0.6   ..00..00..00..00                    octave=-1 pump=0.6
    supersaw    0.3   0120132013201321                    octave=1 wide=1 echo=0.5 room=0.4
    supersaw    0.12  c---------------                    octave=1 room=0.4 pump=0.8

dub  Dub  70  Em Em Am Em  minor  reverb_s=2.5
    boom        0.9   x.......x.......
    rim         0.6   ....x.......x...                    echo=0.65 room=0.6
    hat         0.2   ..x...x...x...x.                    echo=0.3
    sub         0.9   0--0..3-..2-0---|0-----....2-3-..   octave=-1 room=0
    stab        0.35  ....c...........|............c...   echo=0.7 room=0.7

noise  Experimental  51  Cx Cx F#x Cx  major  loose_s=0.2 reverb_s=1.8 loudness=0.11
    gust        0.15  x...x...                            wide=1 room=0.5
    scrape      0.7   ..x....x|x....x..                   echo=0.6 room=0.6
    reese       0.27  c-------                            octave=-2 drive=6 room=0.6
    bell        0.05  ...0..2.|.1....3.                   octave=1 echo=0.6 room=0.6

waltz  Waltz  168  G D7 Em C G Am D7 G  full  beats=3 loose_s=0.01 loudness=0.13
    accordion   0.25  m---m-m-----|m-----m---m-           octave=1 pan=-0.2
    accordion   0.15  ....c...c...                        pan=0.2
    upright     0.8   0---........                        octave=-1
    guitar      0.3   ....g...g...                        strum_s=0.008

minimalism  Minimalism  126  Em Em G Em  minor  loudness=0.11
    marimba     0.5   02131203                            octave=1 pan=-0.5 room=0.3
    marimba     0.5   0.2.3.1.2.0.                        octave=1 pan=0.5 room=0.3
    vibraphone  0.3   m-------m---....                    octave=1 room=0.4

soul  Soul  77  Fmaj7 Em7 Dm7 Cmaj7  major  loose_s=0.012 reverb_s=1.8 loudness=0.17
    rock kick   4     x.......x.......                    room=0.02
    snare       1.3   ....x.......x..o                    room=0.2
    hat         0.23  x.x.x.x.x.x.x.x.                    pan=0.3
    bass        0.2   0--0..2-0-..3-2-                    room=1
    tine        0.1   c-------c---c---                    pan=-0.3
    singer      0.5   m---m-m-m-----m-|m-m-m-----------   octave=1 room=0.57
"""


def _read_scores(text: str) -> dict[str, Style]:
    styles = {}
    for score in text.strip().split("\n\n"):
        header, *lines = (re.split("  +", line.strip()) for line in score.splitlines())
        name, genre, bpm, chords, scale, *options = header
        parts = tuple(Part(voice, pattern, float(gain), **_options(*rest)) for voice, gain, pattern, *rest in lines)
        styles[name] = Style(float(bpm), chords, parts, scale, genre, **_options(*options))
    return styles


def _options(text: str = "") -> dict[str, float]:
    """`pan=0.3 room=0` as keyword arguments."""
    return {name: json.loads(value) for name, value in (pair.split("=") for pair in text.split())}


STYLES: dict[str, Style] = _read_scores(SCORES)


def compose_track(style: str, seconds: float, seed: int, sample_rate: int = 44_100) -> np.ndarray:
    """A piece in one of the STYLES: float32 (n, 2), peak at most 0.9. Equal arguments give equal samples."""
    if style not in STYLES:
        raise ValueError(f"no style {style!r}; there are {', '.join(STYLES)}")
    return STYLES[style](seconds, np.random.default_rng((seed, crc32(style.encode()))), sample_rate)
