"""Exit codes of a worker process that tell its supervisor more than that it ended."""

SETUP_EXIT_CODE = 2  # the worker cannot work here, and has said why: it is not started again
BROKEN_EXIT_CODE = 70  # the worker's GPU does not answer any more: it is started again
