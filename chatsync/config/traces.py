"""The sections about logs, records and metrics, read even if other sections of the file are wrong.

So a run that ends because of a wrong configuration is still visible in the metrics and the step log.
"""

import tomllib
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from chatsync.config.load import absolute, custom_type, fill_in_all
from chatsync.config.settings import Feature, Metrics, Notify, Records, Section, Traces
from chatsync.config.variables import read_small

Kind = TypeVar("Kind", bound=Section)


def read_traces(path: Path) -> Traces:
    """Read the sections that can be read; the others get their defaults."""
    try:
        raw = tomllib.loads(read_small(path))
        base = path.absolute().parent
    except (OSError, ValueError, RecursionError):  # perhaps the working directory itself is gone
        raw, base = {}, Path()
    records, metrics = _section(raw, "records", Records), _section(raw, "metrics", Metrics)
    return Traces(
        feature=_section(raw, "feature", Feature),
        records=msgspec.structs.replace(records, dir=absolute(records.dir, base=base)),
        metrics=msgspec.structs.replace(metrics, textfile=absolute(metrics.textfile, base=base)),
        notify=_section(raw, "notify", Notify),
    )


def _section(raw: dict[str, Any], name: str, kind: type[Kind]) -> Kind:
    try:
        return msgspec.convert(fill_in_all(raw.get(name, {}), name), kind, dec_hook=custom_type)
    except (ValueError, TypeError):
        return kind()
