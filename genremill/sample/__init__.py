"""The sample library: a small collection of composed music, for trying genremill where no music is at hand.

A track is made in these steps: `styles` reads a score, `sequencer` turns its chords and patterns into notes, `synth`
renders each note with one of the `instruments`, `mixer` blends the parts, and `compose` runs all of it. `encode` writes
the samples to a file. `library` and `long_track` are the two callers: one writes 30 short files, the other a long one.
"""
