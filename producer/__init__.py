"""Libraries into jobs on the queue. Loads no torch."""
