"""How the parts of a worker process learn that it is to stop."""

import threading

from celery.signals import worker_shutting_down
from celery.utils.dispatch import Signal

stopping = threading.Event()  # set when this worker is to stop: jobs hand back what they have not begun
drained = Signal(name="drained", providing_args=set())  # sent when the last job thread has ended


@worker_shutting_down.connect(weak=False)
def _stop_jobs(**_kwargs) -> None:
    stopping.set()
