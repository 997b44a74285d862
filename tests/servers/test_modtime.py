"""The kill switch by hand, on a real server."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.harness.job import Job


def test_a_time_in_the_future_switches_the_job_off_and_reset_on_again(server_job: Job) -> None:
    job = server_job
    job.settle({1: 1})
    job.list([1])
    assert job.diff().code == 0

    assert job.run("set-modtime", "--disable").code == 0
    assert (job.apply("--force").code, job.set_modtime().code) == (5, 5)
    assert job.diff("--if-modified").code == 0
    assert (job.plan()["verdict"], job.plan()["off_now"]) == ("disabled", None)
    assert (job.apply("--force").code, job.set_modtime().code) == (5, 5)
    shown = job.run("diff", "--plan", str(job.plan_file))
    assert (shown.code, job.plan()["turn_off"]["1"]) == (0, [1])
    assert "the job is disabled until further notice" in shown.out
    assert (job.apply("--force").code, job.chain("--force").code) == (5, 5)
    assert (job.off(), job.property()) == (set(), "9999-12-31T00:00:00.000000Z")

    assert job.run("set-modtime", "--reset").code == 0
    assert job.chain("--force").code == 0
    assert job.off() == {1}
