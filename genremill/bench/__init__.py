"""`genremill bench`: what a machine does, in batches, in files, and over time."""
