"""The configuration of a real server: options for its driver, and its password."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.harness.schema import PASSWORD, USER

if TYPE_CHECKING:
    from tests.harness.job import Job
    from tests.harness.schema import World


@pytest.mark.parametrize("option", ["connection_timeout=abc", "charset=nonsense", "compress=1", "no_such_option=1"])
def test_an_option_that_the_driver_refuses_is_exit_2(server_job: Job, option: str) -> None:
    server_job.configure(databases={"dict": f"{server_job.databases.dict_url}?{option}"})

    result = server_job.diff()

    assert (result.code, result.err.count("\n")) == (2, 1)
    assert result.err.endswith("; check the options of its URL in [databases]\n")


def test_the_servers_odd_password_works_from_the_environment(server_job: Job, world: World) -> None:
    def without_password(url: str) -> str:
        return f"mysql://{USER}:${{PPC_PASSWORD}}@{url.rpartition('@')[2]}"

    shards = {name: without_password(url) for name, url in world.shard_urls.items()}
    server_job.configure(databases={"dict": without_password(world.dict_url), "shards": shards})
    server_job.environment["PPC_PASSWORD"] = PASSWORD
    server_job.config.chmod(0o644)

    result = server_job.diff()

    assert (result.code, result.err) == (0, "")
    server_job.environment["PPC_PASSWORD"] = PASSWORD + "x"
    assert server_job.diff().code == 1


@pytest.mark.parametrize(("mode", "warned"), [(0o600, False), (0o640, True), (0o604, True)])
def test_a_password_in_a_file_that_others_may_read_is_a_warning(server_job: Job, mode: int, warned: bool) -> None:
    server_job.config.chmod(mode)

    result = server_job.diff()

    assert result.code == 0
    assert ("holds a password and others may read it: chmod 600" in result.err) is warned
