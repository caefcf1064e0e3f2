"""`genremill worker`: a worker process for every GPU of this machine, or one for the CPU."""

import settings
from genremill import console
from genremill.commands.options import Amp, DeviceName


def worker(device: DeviceName = "", amp: Amp = "") -> None:
    """Run a worker for every GPU, or one for the CPU.

    The workers analyse what `genremill enqueue` has queued, until SIGINT (Ctrl-C) or SIGTERM stops them. Each is a
    process that uses one device alone, and is started again when it dies. See GENREMILL_BROKER_URL and
    GENREMILL_DATABASE_URL.
    """
    from db.session import connect
    from worker import supervisor
    from worker.celery import check_broker
    from worker.gpu.devices import choose_devices

    config = settings.override(device=device, amp=amp)
    check_broker()
    connect(config.database, console.say).close()  # It is made, or migrated, before the workers use it.
    devices = choose_devices(config.device)
    if config.device != "cpu" and devices[0].torch_name == "cpu":
        console.say("no GPU: one worker on the CPU")
    raise SystemExit(supervisor.run_workers(devices, config.log_level))
