"""Which networks there are, and their weights."""
