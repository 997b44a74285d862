"""`chatsync check`: tell monitoring whether the list is synced."""

import json
from datetime import timedelta
from typing import Any

import click

from chatsync.commands.options import begin
from chatsync.config.durations import Seconds
from chatsync.config.settings import Monitoring
from chatsync.errors import ChatsyncError
from chatsync.invocation import Invocation
from chatsync.monitoring import juggler
from chatsync.monitoring import verdict as monitoring
from chatsync.monitoring.check import look
from chatsync.monitoring.verdict import Finding, Thresholds


class Duration(click.ParamType[timedelta]):
    """A length of time such as `90s`, `2h` or `1h30m`; with `bare`, also a number of seconds, as plugins take it."""

    name = "duration"

    def __init__(self, *, bare: bool = False) -> None:
        """Say whether a bare number is taken."""
        self._bare = bare

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        """Read a duration as the configuration does."""
        if isinstance(value, timedelta):
            return value
        text = f"{value}s" if self._bare and str(value).isdecimal() else value
        try:
            return timedelta(seconds=Seconds.parse(text))
        except (ValueError, OverflowError) as error:
            self.fail(f"{value!r}: {error}", param, ctx)


def _http(_ctx: click.Context, _option: click.Parameter, url: str | None) -> str | None:
    if url is not None and (not url.startswith(("http://", "https://")) or "@" in url):
        # The URL is not shown: the text before an "@" is a password.
        msg = "expected an http:// or https:// address without user and password"
        raise click.BadParameter(msg)
    return url


@click.command()
@click.option("--warning", type=Duration(), default="2h", show_default=True, metavar="TIME", help="Warn after waiting.")
@click.option(
    "--critical", type=Duration(), default="24h", show_default=True, metavar="TIME", help="Critical after waiting."
)
@click.option("--drift", is_flag=True, help="Make a real diff: changes left in a synced state are critical.")
@click.option("--live", is_flag=True, help="With --drift, read the databases even if [export] is configured.")
@click.option(
    "--format",
    "output_format",
    type=click.Choice(["nagios", "json", "juggler", "monrun"]),
    default="nagios",
    show_default=True,
    help="Output format.",
)
@click.option(
    "--timeout",
    type=Duration(bare=True),
    default="10s",
    show_default=True,
    metavar="TIME",
    help="Longest wait for the list, the mod-time and the shards; a bare number is in seconds.",
)
@click.option("--push", "push_url", callback=_http, metavar="URL", help="Post the Juggler event to the agent there.")
@click.pass_context
def check(
    ctx: click.Context,
    warning: timedelta,
    critical: timedelta,
    output_format: str,
    push_url: str | None,
    *,
    drift: bool,
    live: bool,
    timeout: timedelta,
) -> None:
    """Tell monitoring whether the list is synced to the databases, however the job is run.

    OK while the list is synced or has waited for less than --warning; then WARNING and CRITICAL. How
    long a list has waited is counted from its last write; with monitoring.state_file, from the first
    version that was not synced. The step log, if it is readable, says why the list waits.
    WARNING while the job is disabled, and for a list older than the one that was synced.
    CRITICAL when the list or the mod-time can't be read.
    UNKNOWN when databases or cluster don't answer, and for a wrong configuration or command line.
    A real diff (--drift) may take longer than --timeout.

    Exit codes, unlike those of the other commands: 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN or not pushed.
    """
    if warning > critical:
        msg = "--warning is longer than --critical"
        raise click.UsageError(msg)
    if live and not drift:
        msg = "--live needs --drift"
        raise click.UsageError(msg)
    finding, section, thresholds = _look(
        ctx.obj, warning=warning, critical=critical, drift=drift, live=live, timeout=timeout
    )
    click.echo(_report(finding, section, thresholds, output_format=output_format))
    if push_url:
        juggler.push(juggler.batch(finding, section), push_url)
    ctx.exit(finding.status)


def _look(
    invocation: Invocation, *, warning: timedelta, critical: timedelta, drift: bool, live: bool, timeout: timedelta
) -> tuple[Finding, Monitoring, Thresholds]:
    """Return the finding of the check. An error that prevents the check is a finding, too."""
    section = Monitoring()
    thresholds = Thresholds(warning=warning, critical=critical, drift=section.drift_tolerance)
    try:
        with begin(invocation) as (settings, scope):
            section = settings.monitoring
            thresholds = Thresholds(warning=warning, critical=critical, drift=section.drift_tolerance)
            finding = look(
                settings,
                scope,
                thresholds=thresholds,
                drift=drift,
                live=live,
                timeout=timeout.total_seconds(),
                trace_id=invocation.trace_id,
            )
    except ChatsyncError as error:
        finding = monitoring.failure(error)
    return finding, section, thresholds


def _report(finding: Finding, section: Monitoring, thresholds: Thresholds, *, output_format: str) -> str:
    if output_format == "json":
        return json.dumps(monitoring.document(finding), ensure_ascii=False)
    if output_format == "juggler":
        return json.dumps(juggler.batch(finding, section), ensure_ascii=False)
    if output_format == "monrun":
        return monitoring.monrun_line(finding)
    return monitoring.nagios_line(finding, thresholds)
