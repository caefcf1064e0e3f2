"""One file for each command: its options, one call, and what it prints."""
