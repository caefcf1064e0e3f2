"""`python -m producer` is `genremill enqueue`."""

from genremill.cli import main

if __name__ == "__main__":
    main("enqueue")
