"""The `celery` command for this app: `python -P -m worker.celery_command worker` is `celery -A worker worker`.

Celery finds an app by its name in the working directory, which may hold another one: here the app is handed to it.
Celery also reads `APP`, `BROKER_URL` and their like from the environment, which may be meant for another project: here
it does not.
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
