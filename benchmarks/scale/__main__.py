"""How large the database gets, and how long its views and statements take: python -m benchmarks.scale COMMAND ..."""

import argparse
import sys

from benchmarks.scale import fill, measure, work
from settings import GenremillError

COMMANDS = {"fill": fill, "measure": measure, "work": work}


def main() -> None:
    """Run the command that was asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, module in COMMANDS.items():
        described = argparse.RawDescriptionHelpFormatter
        module.add_arguments(commands.add_parser(name, description=module.__doc__, formatter_class=described))
    options = parser.parse_args()
    try:
        COMMANDS[options.command].main(options)
    except GenremillError as error:
        sys.exit(f"benchmarks.scale: {error}")


if __name__ == "__main__":
    main()
