"""The folder `records.dir`, with one record for each run."""

import logging
import re
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path

from pyroaring import BitMap64

from chatsync.config.settings import Records as Section
from chatsync.core import loads
from chatsync.errors import ConfigError, OutputError, RecordError, UnknownRunError
from chatsync.files import remove_leftovers, write_whole
from chatsync.sync.record import Record, from_document, in_json, is_run_id, run_time

_NAMED = 5
_LAST = b"}\n"  # a record that does not end like this was cut short

logger = logging.getLogger(__name__)


class Records:
    """The folder of records."""

    def __init__(self, section: Section) -> None:
        """Take the folder from the configuration; without it, nothing is written and nothing is found."""
        self._folder = Path(section.dir) if section.dir else None
        self._keep = timedelta(seconds=section.keep)
        self._denied = 0

    @property
    def denied(self) -> RecordError | None:
        """The error that this user may not read some records that `newest` found; None if all could be read."""
        if not self._denied:
            return None
        what = f"this user may not read {self._denied} of the records"
        return RecordError(what, where=str(self.folder), way_out="run this as the user of the job")

    @property
    def kept(self) -> bool:
        """Whether records are kept at all."""
        return self._folder is not None

    @property
    def folder(self) -> Path:
        """The folder. Raises ConfigError when none is configured."""
        if self._folder is None:
            raise ConfigError("records.dir is not set, so no records are kept; name a folder in records.dir")
        return self._folder

    def path(self, run: str) -> Path:
        """Return where the record of a run is."""
        return self.folder / f"{run}.json"

    def runs(self) -> list[str]:
        """Return the ids of the recorded runs, the newest first. Raises ConfigError, RecordError."""
        try:
            names = [path.stem for path in self.folder.iterdir() if path.suffix == ".json" and is_run_id(path.stem)]
        except FileNotFoundError:  # the first run makes it
            return []
        except OSError as error:
            raise RecordError(f"cannot read the records in {self.folder}: {error.strerror}; see records.dir") from None
        return sorted(names, reverse=True)

    def newest(self, *, feature: str | None = None, about: BitMap64 | None = None) -> Iterator[Record]:
        """Yield the records (of one feature), the newest first; one that can't be read is a warning and left out.

        Those that this user may not read are counted: see `denied`. With `about`, only records in whose text one of
        these clients appears: the others are not parsed, which takes a hundred times as long as searching them.
        """
        self._denied = 0
        is_about = None if about is None else _mentions(about)
        for run in self.runs():
            try:
                text = self._read(run)
                if is_about is None or is_about(text) or not text.endswith(_LAST):
                    record = self._parsed(run, text)
                    if feature in (None, record.plan.feature.name):
                        yield record
            except RecordError as error:
                self._denied += error.is_denied
                if not error.is_denied:
                    logger.warning("%s; it is skipped", error)

    def load(self, run: str) -> Record:
        """Read one record. Raises RecordError when it is gone, cut short or edited."""
        return self._parsed(run, self._read(run))

    def _read(self, run: str) -> bytes:
        path = self.path(run)
        try:
            return path.read_bytes()
        except OSError as error:
            failure = RecordError(f"cannot read record {path}: {error.strerror}")
            failure.is_denied = isinstance(error, PermissionError)
            raise failure from None

    def _parsed(self, run: str, text: bytes) -> Record:
        path = self.path(run)
        try:
            return from_document(loads(text))
        except (ValueError, RecursionError) as error:
            reason = str(error).splitlines()[0][:200]
            raise RecordError(f"record {path} was cut short or edited, or is not a record ({reason})") from None

    def find(self, text: str) -> Record:
        """Return the record of the one run whose id is, starts with or ends with `text`. Raises UnknownRunError."""
        known = self.runs()
        alike = [run for run in known if text and (run.startswith(text) or run.endswith(text))]
        found = [text] if text in known else alike
        if len(found) == 1:
            return self.load(found[0])
        there = found or known
        names = ", ".join(there[:_NAMED]) + (", …" if len(there) > _NAMED else "") if there else "none"
        what = f"{len(found)} runs match {text!r}" if found else f"there is no run {text!r}"
        raise UnknownRunError(f"{what} in {self.folder}; there are: {names} (see `chatsync history`)")

    def write(self, record: Record) -> None:
        """Write a record, completely or not at all, readable by its owner only; create the folder if missing."""
        path = self.path(record.id)
        try:
            self.folder.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise OutputError(f"cannot write {path}: {error.strerror}", way_out="see records.dir") from None
        write_whole(path, in_json(record))

    def remove(self, run: str) -> None:
        """Remove the record of a run. Raises OutputError."""
        try:
            self.path(run).unlink(missing_ok=True)
        except OSError as error:
            raise OutputError(f"cannot remove {self.path(run)}: {error.strerror}") from None

    def prune(self, *, now: datetime) -> None:
        """Remove the records older than `records.keep`."""
        oldest = run_time(now - self._keep)
        for run in self.runs():
            if run.partition("-")[0] < oldest:
                self.remove(run)
        remove_leftovers(self.folder, "*.json")


def _mentions(clients: BitMap64) -> Callable[[bytes], bool]:
    """Return a function that tells whether a text contains any of these numbers, not as part of a longer number."""
    numbers = [b"%d" % client for client in clients]
    whole = re.compile(rb"(?<![0-9])(?:%s)(?![0-9])" % b"|".join(numbers))
    return lambda text: any(number in text for number in numbers) and whole.search(text) is not None
