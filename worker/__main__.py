"""The ``trimtab`` command, also as ``python -m worker``."""

from adapters.inbound.cli import create_cli
from config.logging import configure_logging
from worker.wiring import SettingsWiring


def main() -> None:
    # Before settings are read: standard output belongs to answers, whatever a library has to say.
    configure_logging("warning", "console")
    create_cli(SettingsWiring())()


if __name__ == "__main__":
    main()
