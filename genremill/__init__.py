"""The `genremill` command, and what only the command needs."""
