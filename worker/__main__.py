"""The ``trimtab`` command, also as ``python -m worker``."""

from adapters.inbound.cli import create_cli
from worker.wiring import SettingsWiring


def main() -> None:
    create_cli(SettingsWiring())()


if __name__ == "__main__":
    main()
