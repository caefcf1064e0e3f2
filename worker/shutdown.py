"""How the parts of a worker process learn that it is to stop."""

import threading

from celery.signals import worker_shutting_down

stopping = threading.Event()  # Set when this worker is to stop: jobs hand back the tracks that they have not submitted.


@worker_shutting_down.connect(weak=False)  # type: ignore[untyped-decorator]  # Celery has no types
def _stop_jobs(**_kwargs: object) -> None:
    """Celery sends this signal when a warm or cold shutdown begins."""
    stopping.set()
