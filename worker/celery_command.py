"""The `celery` command for this app: `python -P -m worker.celery_command worker` is `celery -A worker worker`.

Where Celery looks for an app by its name, it imports from the working directory; here the app is handed to it. Nor does
it read `APP`, `BROKER_URL` and their like from the environment, which may be meant for another project.
"""

from celery.bin.celery import celery

from worker.celery import app


def main() -> None:
    """Run the command line, and exit."""
    for option in celery.params:
        option.envvar = None
    app_option = next(option for option in celery.params if option.name == "app")
    app_option.default = app
    celery()


if __name__ == "__main__":
    main()
