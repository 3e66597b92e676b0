"""The ``dash-user-tracker`` command.

Exit codes: 0 done; 1 it could not be done, and why is on standard error; 2 the command was
not understood; 130 interrupted (Ctrl-C), 143 ended (SIGTERM).
"""

from __future__ import annotations

import click

from . import __version__
from .cli_care import backup, erase_user, migrate, purge
from .cli_demo import demo, demo_data
from .cli_doctor import doctor
from .cli_move import export, export_user, import_events
from .cli_report import report


@click.group(
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="""\b
    Examples:
      dash-user-tracker demo --fill
      dash-user-tracker report --db sqlite:///usage.db --start 2025-01-01
      dash-user-tracker export --db sqlite:///usage.db --to events.csv

    Exit codes: 0 done, 1 could not be done, 2 not understood, 130 interrupted.""",
)
@click.version_option(__version__, prog_name="dash-user-tracker")
def main() -> None:
    """Usage analytics for Plotly Dash apps."""


for command in (
    backup,
    demo,
    demo_data,
    doctor,
    erase_user,
    export,
    export_user,
    import_events,
    migrate,
    purge,
    report,
):
    main.add_command(command)
