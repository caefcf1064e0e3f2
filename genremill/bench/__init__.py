"""What `genremill bench` measures: batches of growing size, whole files, and memory over time."""
