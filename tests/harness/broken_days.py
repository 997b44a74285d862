"""Simulated days on which the job breaks: the chain as cron starts it every half hour, and what people are told.

The chain is the real one, in separate processes. After each half hour the metrics file is read as the node exporter
would read it, its times are moved to the simulated hour, and Prometheus' own promtool says when alerts fire.
"""

from __future__ import annotations

import json
import re
import resource
import shutil
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prometheus_client.parser import text_string_to_metric_families

if TYPE_CHECKING:
    from tests.harness.job import Job

HALF_HOUR, LOOK = 30, 5  # minutes
ALERTS = Path(__file__).parents[2] / "monitoring" / "alerts.yml"
TELL = "import socket,sys; socket.socket(2, 2).sendto(sys.stdin.buffer.read(), ('127.0.0.1', int(sys.argv[1])))"
FAILED = re.compile(r"alertname: (\w+), time: (\w+),(.*?)(?=\n\s+alertname: |\Z)", re.DOTALL)

Series = dict[str, list[float | None]]


@dataclass
class Day:
    """One day: the number of half hours so far, the series that Prometheus has, and the notifications."""

    job: Job
    limit: int | None = None  # the most bytes that a file may have: it has the same effect as a full disk
    starts: list[tuple[float, float]] = field(default_factory=list)
    series: Series = field(default_factory=dict)
    told: list[dict[str, Any]] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Receive what notify.command sends, over a socket and not a file, because the disk may be full."""
        self._ear = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._ear.bind(("127.0.0.1", 0))
        self._ear.setblocking(False)
        self.notify = [sys.executable, "-c", TELL, str(self._ear.getsockname()[1])]

    def close(self) -> None:
        self._ear.close()

    def half_hours(self, count: int, *apply_options: str) -> None:
        """Start the chain as cron does, `count` times, and let Prometheus read the metrics after each."""
        plan = str(self.job.plan_file)
        for _ in range(count):
            began = time.time()
            for step in (
                ["diff", "--if-modified", "--plan", plan],
                ["apply", "--plan", plan, *apply_options],
                ["set-modtime", "--plan", plan],
            ):
                done = self.job.start(*step, preexec_fn=self._fill_the_disk)
                error = done.communicate(timeout=60)[1]
                if done.returncode:
                    self.errors.append(error.strip())
                    break
            self.starts.append((began, time.time()))
            self._scrape()
            self._hear()

    def _fill_the_disk(self) -> None:
        if self.limit is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (self.limit, self.limit))

    def _hear(self) -> None:
        while True:
            try:
                self.told.append(json.loads(self._ear.recv(65536)))
            except BlockingIOError:
                return

    def _scrape(self) -> None:
        file = self.job.folder / "chatsync.prom"
        text = file.read_text(encoding="utf-8") if file.exists() else ""
        now = len(self.starts)
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                labels = {"instance": "job1", **sample.labels}
                name = sample.name + "{" + ",".join(f'{key}="{value}"' for key, value in sorted(labels.items())) + "}"
                values = self.series.setdefault(name, [None] * (now - 1))
                values.append(self._moved(sample.name, sample.value))
        for known in self.series.values():
            known.extend([None] * (now - len(known)))

    def _moved(self, name: str, value: float) -> float:
        """Move the time of a run to its simulated half hour; the first one is at 00:30."""
        if "timestamp" in name:
            for number, (began, ended) in enumerate(self.starts, 1):
                if began <= value <= ended:
                    return number * HALF_HOUR * 60
        return value

    def alerts(self, folder: Path, rules: Path = ALERTS) -> dict[str, tuple[int, str]]:
        """Return when each alert fires first, in minutes of the day, and what it says."""
        names = re.findall(r"- alert: (\w+)", rules.read_text(encoding="utf-8"))
        last = len(self.starts) * HALF_HOUR + HALF_HOUR
        looks = HALF_HOUR // LOOK
        series = [
            {
                "series": name,
                "values": " ".join(["_"] * looks + [f"{_text(value)}" for value in values for _ in range(looks)]),
            }
            for name, values in self.series.items()
        ]
        asked = [
            {"eval_time": f"{minute}m", "alertname": name, "exp_alerts": []}
            for name in names
            for minute in range(HALF_HOUR, last, LOOK)
        ]
        shutil.copy(rules, folder / "alerts.yml")
        test: dict[str, Any] = {"rule_files": ["alerts.yml"], "evaluation_interval": f"{LOOK}m"}
        test["tests"] = [{"interval": f"{LOOK}m", "input_series": series, "alert_rule_test": asked}]
        (folder / "day.yml").write_text(json.dumps(test), encoding="utf-8")  # YAML, too
        done = subprocess.run(
            ["promtool", "test", "rules", str(folder / "day.yml")], capture_output=True, text=True, check=False
        )
        found: dict[str, tuple[int, str]] = {}
        for name, moment, rest in FAILED.findall(done.stdout + done.stderr):
            minutes = sum(int(n) * {"h": 60, "m": 1, "s": 0}[unit] for n, unit in re.findall(r"(\d+)([hms])", moment))
            if name not in found or minutes < found[name][0]:
                found[name] = minutes, rest
        assert done.returncode == bool(found), done.stdout + done.stderr
        return found


def _text(value: float | None) -> str:
    return "_" if value is None else repr(value)
