"""The command that tells what an app would have recorded."""

from __future__ import annotations

import json
import sys

import attrs
import click

from .errors import ConfigurationError


@click.command(
    short_help="Tell what an app would have recorded.",
    epilog="Example: dash-user-tracker doctor app:app --path /orders",
)
@click.argument("app", metavar="MODULE:APP")
@click.option("--path", metavar="PATH", help="Page to open; the app's front page by default.")
@click.option("--header", "headers", multiple=True, metavar="NAME:VALUE", help="Sent along, e.g. for a log-in.")
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
def doctor(app: str, path: str | None, headers: tuple[str, ...], as_json: bool) -> None:
    """Drive an app and tell what would be counted, and what is set up wrong.

    No callback is run, and nothing reaches the app's repository. The exit code is 1 where
    something has to be mended.
    """
    from .doctor import FAILURE, examine, find_app

    sent = dict(_header(each) for each in headers)
    try:
        found = examine(find_app(app), path=path, headers=sent)
    except ConfigurationError as error:
        raise click.ClickException(str(error)) from error
    if as_json:
        click.echo(json.dumps([attrs.asdict(finding) for finding in found], indent=2))
    else:
        for finding in found:
            click.echo(f"{finding.level:<8} {finding.what}")
    if any(finding.level == FAILURE for finding in found):
        sys.exit(1)


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon or not name.strip():
        raise click.BadParameter(f"{text!r} is no header; write 'Cookie: session=...'", param_hint="--header")
    return name.strip(), value.strip()
