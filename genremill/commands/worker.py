"""`genremill worker`: pinned workers for every GPU of this host, or one for the CPU."""

import settings
from genremill import console
from genremill.commands.options import Amp, DeviceName


def worker(device: DeviceName = "", amp: Amp = "") -> None:
    """Work: one pinned worker process for every GPU of this host, or one for the CPU, until a signal stops them."""
    from db.session import connect
    from worker import supervisor
    from worker.celery import check_broker
    from worker.gpu.devices import choose_devices

    config = settings.override(device=device, amp=amp)
    check_broker()
    connect(config.database).close()
    devices = choose_devices(config.device)
    if config.device != "cpu" and devices[0].torch_name == "cpu":
        console.err.print("no GPU: one worker on the CPU")
    raise SystemExit(supervisor.run_workers(devices, config.log_level))
