"""`python -m bench`: make the worlds, measure, print a table, write JSON."""

import compileall
import json
import signal
import sys
import tempfile
import traceback
from dataclasses import replace
from pathlib import Path

import click

import chatsync
from bench import contests, far_contests, job_contests, plan_contests, record_contests
from bench.contests import Contests
from bench.measure import Bench, BenchError, Command, Contest, Result
from bench.report import document, table
from bench.world import DENSITIES, ORDERS, Size
from bench.worlds import Worlds

# The last one changes the largest world.
MODULES = (contests, plan_contests, far_contests, record_contests, job_contests)
BY_NAME = {name: make for module in MODULES for name, make in module.BY_NAME.items()}


@click.command()
@click.option("--clients", type=click.IntRange(min=1000), default=10_000_000, help="Of the largest list.")
@click.option("--shards", type=click.IntRange(1, 200), default=16, help="Of the large worlds.")
@click.option("--drift", type=click.FloatRange(0, 0.2), default=0.01, help="Share to turn off, and share to turn on.")
@click.option(
    "--density", type=click.Choice(DENSITIES), default="sparse", help="Ids up to 4 billion, or one in ten of a range."
)
@click.option("--order", type=click.Choice(ORDERS), default="random", help="In which order the list has its ids.")
@click.option("--large", is_flag=True, help="Compare on a clique also 50 million clients.")
@click.option("--only", default=",".join(BY_NAME), metavar="NAMES", help="Lines to measure, by name.")
@click.option("--runs", type=click.IntRange(min=1), default=5, help="Pairs of runs a line, after one for warming up.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), default="bench.json", help="Where to write JSON.")
def main(
    *,
    clients: int,
    shards: int,
    drift: float,
    density: str,
    order: str,
    large: bool,
    only: str,
    runs: int,
    json_file: Path,
) -> None:
    """Measure chatsync against what people would use instead.

    A line that fails, or its peer, is reported, and the others are measured. The JSON is written after each name.
    """
    names = only.split(",")
    if unknown := sorted(set(names) - set(BY_NAME)):
        msg = f"--only knows {', '.join(BY_NAME)}, not {', '.join(unknown)}"
        raise click.UsageError(msg)
    compileall.compile_dir(Path(chatsync.__file__).parent, quiet=1)  # as pip leaves an installed package
    size = Size(clients=clients, shards=shards, drift=drift, density=density, order=order)
    with tempfile.TemporaryDirectory(prefix="chatsync-bench-") as folder, Worlds(Path(folder)) as worlds:
        bench = Bench(Path(folder), server=worlds.server_pid)
        lines = Contests(worlds, bench, size, large=large)
        results: list[Result] = []
        version = worlds.server.sql("SELECT VERSION()")[0][0]
        for name in [known for known in BY_NAME if known in names]:
            results += _measure(lines, bench, name, runs)
            json_file.write_text(json.dumps(document(results, server=version), indent=1) + "\n", encoding="utf-8")
    click.echo(table(results))
    if any(result.failed for result in results):
        sys.exit(1)


def _measure(lines: Contests, bench: Bench, name: str, runs: int) -> list[Result]:
    """Measure the lines of one name; a peer that isn't installed is reported, and we run alone."""
    results = []
    try:
        for contest in BY_NAME[name](lines):
            click.echo(f"bench: {contest.what} against {contest.against or 'a goal'}", err=True)
            present = replace(contest, peer=None) if contest.missing else contest
            results.append(bench.contest(present, runs=runs))
    except Exception as error:  # noqa: BLE001  # one line, made ready in vain, must not cost the hour of the others
        if not isinstance(error, BenchError):
            traceback.print_exception(error)
        results.append(Result(contest=_unmade(name), ours=[], peer=[], failed=str(error)))
    for result in results:
        if result.failed:
            click.echo(f"bench: {name}: {result.failed}", err=True)
    return results


def _unmade(name: str) -> Contest:
    return Contest(name=name, what=name, against="", ours=Command(argv=[]), peer=None, goal=None)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # clean up after that, too
    main()
