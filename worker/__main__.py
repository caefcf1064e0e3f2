"""`python -m worker`: pinned workers for every GPU of this host, or one for the CPU."""

import sys
from typing import Annotated

import typer

import console
import settings

app = typer.Typer(help=__doc__, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)


@app.command()
def worker(
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, or cuda: and numbers (cuda:0,2)")] = "",
) -> None:
    """Work: one pinned worker process for every GPU of this host, or one for the CPU, until a signal stops them."""
    from db.session import connect
    from producer.dispatch import check_broker
    from worker import launch

    config = settings.load()
    check_broker()
    connect(config.database).close()
    devices = launch.choose_devices(device or config.device)
    if all(device.torch_name == "cpu" for device in devices):
        console.err.print("no GPU: one worker on the CPU")
    raise SystemExit(launch.run_workers(devices, config.log_level))


if __name__ == "__main__":
    sys.exit(console.guarded(app))
