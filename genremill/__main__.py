"""`python -m genremill` is the `genremill` command."""

from genremill.cli import main

if __name__ == "__main__":
    main()
