"""Exit codes by which a worker process tells its supervisor why it ended."""

SETUP_EXIT_CODE = 2  # The worker cannot work here, and its last line of output says why: it is not started again.
BROKEN_EXIT_CODE = 70  # The worker's GPU does not answer any more, or its engine failed: it is started again.
