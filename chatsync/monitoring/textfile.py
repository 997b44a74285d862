"""The file of the metrics for a collector (`metrics.textfile`), by prometheus-client.

The three commands share the file, and several features may share it, too: each command replaces the samples that
it knows and keeps the others. prometheus-client imports whole servers in 30 to 50 ms, so only a job with metrics
loads this module.
"""

import logging
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from prometheus_client import CollectorRegistry, Gauge, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from chatsync.errors import ExitCode, OutputError
from chatsync.files import write_whole
from chatsync.monitoring.metrics import (
    CHANGES,
    DISABLED,
    FEATURE,
    METRICS,
    REFUSED,
    Facts,
    after_changes,
    merge,
    of_step,
)

_READABLE = 0o644  # the collector runs as another user

logger = logging.getLogger(__name__)


def read(path: Path) -> dict[str, Facts]:
    """Read the samples in the file, by feature; a file that can't be read is a warning and is written again."""
    found: dict[str, dict[str, dict[tuple[str, ...], float]]] = {}
    try:
        for family in text_string_to_metric_families(path.read_text(encoding="utf-8")):
            for sample in family.samples:
                if sample.name in METRICS and FEATURE in sample.labels:
                    values = tuple(sample.labels[label] for label in METRICS[sample.name][1])
                    facts = found.setdefault(sample.labels[FEATURE], {})
                    facts.setdefault(sample.name, {})[values] = sample.value
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, LookupError) as error:
        logger.warning("the metrics in %s can't be read and are written again from the start: %s", path, error)
        return {}
    return dict(found)


def write(path: Path, facts: Mapping[str, Facts]) -> None:
    """Write the file: whole or not at all, readable by all. Raises OutputError."""
    registry = CollectorRegistry()
    for name, (text, labels) in METRICS.items():
        samples = [
            ((feature, *values), value)
            for feature, known in facts.items()
            for values, value in known.get(name, {}).items()
        ]
        if not samples:
            continue
        gauge = Gauge(name, text, (FEATURE, *labels), registry=registry)
        for label_values, value in sorted(samples):
            gauge.labels(*label_values).set(value)
    write_whole(path, generate_latest(registry).decode(), mode=_READABLE)


def record(
    textfile: str, learnt: Sequence[Facts], *, feature: str, step: str | None, code: int, seconds: float
) -> None:
    """Bring the file up to date at the end of a command.

    `step` is None for a command that is not a step of a chain. A failure is a warning: the metrics never
    change how a command ends.
    """
    path = Path(textfile)
    known, facts = read(path), merge({}, *learnt)
    former = known.get(feature, {})
    news = [facts]
    if code == ExitCode.DISABLED:
        news.append({DISABLED: {(): 1}})
    if step is not None:
        if code == ExitCode.REFUSED:
            news.append({REFUSED: {(): 1}})
        news.append(of_step(step, code=code, seconds=seconds, now=datetime.now(UTC), former=former))
    merged = merge(former, *news)
    if CHANGES in facts:
        merged = merge(merged, after_changes(merged))
    try:
        write(path, {**known, feature: merged})
    except OutputError as error:
        logger.warning("%s; see metrics.textfile", error)
