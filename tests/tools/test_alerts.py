"""The alerts and the dashboard: they fit the metrics that the job exports."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.harness.examples import exported

if TYPE_CHECKING:
    from tests.harness.job import Job

MONITORING = Path(__file__).parents[2] / "monitoring"
ALERTS = MONITORING / "alerts.yml"
TESTS = MONITORING / "alerts_test.yml"
DASHBOARD = MONITORING / "grafana-dashboard.json"
NAME = re.compile(r"\bchatsync_\w+")


def promtool(*arguments: object) -> str:
    """Run promtool and say what it says; it comes with Debian's package prometheus."""
    command = shutil.which("promtool")
    assert command, "no promtool: run tests/install-mariadb.sh"
    done = subprocess.run([command, *map(str, arguments)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def expressions() -> list[str]:
    panels = json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"]
    return [
        target["expr"].replace("$instance", "job1").replace("$feature", "chat")
        for panel in panels
        for target in panel["targets"]
    ]


@pytest.mark.programs
def test_the_alerts_fire_when_they_should_and_not_before() -> None:
    assert "SUCCESS" in promtool("test", "rules", TESTS)


@pytest.mark.programs
def test_the_address_of_the_runbook_is_put_in_as_the_page_says(tmp_path: Path) -> None:
    (command,) = re.findall(
        r"^sed -i .+$", (MONITORING.parent / "docs" / "monitoring.md").read_text("utf-8"), re.MULTILINE
    )
    (tmp_path / ALERTS.name).write_text(ALERTS.read_text(encoding="utf-8"), encoding="utf-8")

    subprocess.run(["sh", "-c", command], cwd=tmp_path, check=True)

    rules = (tmp_path / ALERTS.name).read_text(encoding="utf-8")
    urls = re.findall(r"runbook_url: (\S+)", rules)
    assert len(urls) == rules.count("- alert:")
    assert all(url.startswith("https://wiki.example.com/chatsync/docs/runbook.md#what-if-") for url in urls)
    assert "runbooks.example" not in rules
    assert "SUCCESS" in promtool("check", "rules", tmp_path / ALERTS.name)


@pytest.mark.programs
def test_a_wrong_alert_is_found(tmp_path: Path) -> None:
    rules = ALERTS.read_text(encoding="utf-8")
    (tmp_path / TESTS.name).write_text(TESTS.read_text(encoding="utf-8"), encoding="utf-8")
    (tmp_path / ALERTS.name).write_text(rules.replace("for: 3d", "for: 4d"), encoding="utf-8")

    with pytest.raises(AssertionError, match="ChatsyncDisabled"):
        promtool("test", "rules", tmp_path / TESTS.name)


def test_every_alert_is_tested_both_ways() -> None:
    alerts = re.findall(r"- alert: (\w+)", ALERTS.read_text(encoding="utf-8"))
    tested = re.findall(r"alertname: (\w+)\n +exp_alerts:( \[\])?", TESTS.read_text(encoding="utf-8"))

    assert len(alerts) == 11
    assert {(alert, silent) for alert in alerts for silent in ("", " []")} == set(tested)


@pytest.mark.programs
def test_the_dashboard_asks_in_proper_promql(tmp_path: Path) -> None:
    rules = [{"record": f"panel:{number}", "expr": expr} for number, expr in enumerate(expressions())]
    file = tmp_path / "rules.yml"
    file.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}), encoding="utf-8")

    assert f"{len(rules)} rules found" in promtool("check", "rules", file)


def test_every_metric_that_is_asked_for_is_exported(job: Job) -> None:
    job.settle_off({1: 1})
    job.list([1])
    job.configure(metrics={"textfile": "chatsync.prom"})
    assert job.chain().code == 0
    names = {name for name, _ in exported(job)}

    lines = ALERTS.read_text(encoding="utf-8").splitlines()
    rules = "\n".join(line for line in lines if not line.lstrip().startswith("#"))
    asked = set(NAME.findall(rules)) | {name for expr in expressions() for name in NAME.findall(expr)}

    assert asked == names


def test_every_alert_names_a_section_of_the_runbook() -> None:
    headings = re.findall(
        r"^## (.*)$", (MONITORING.parent / "docs" / "runbook.md").read_text(encoding="utf-8"), re.MULTILINE
    )
    anchors = {re.sub(r"[^a-z0-9 -]", "", heading.lower()).replace(" ", "-") for heading in headings}
    rules = ALERTS.read_text(encoding="utf-8")

    named = re.findall(r"runbook_url: https://runbooks\.example/chatsync/runbook\.md#(\S+)", rules)

    assert len(named) == rules.count("- alert: ")
    assert set(named) <= anchors


def test_every_series_that_is_asked_for_is_told_apart_by_feature() -> None:
    assert [expr for expr in expressions() if expr.count('feature=~"chat"') < len(NAME.findall(expr))] == []
