"""A server is reached by its socket, and with a login from files, as by host, port and password in the URL."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.harness.schema import PASSWORD, USER

if TYPE_CHECKING:
    from tests.harness.job import Job
    from tests.harness.servers import Server


def test_the_job_runs_by_socket_option_file_and_secret_file(server_job: Job, server: Server) -> None:
    option_file, secret = server_job.folder / "my.cnf", server_job.folder / "password"
    option_file.write_text(f"[client]\nuser = {USER}\npassword = '{PASSWORD}'\nhost = nowhere.example\n")
    secret.write_text(f"{PASSWORD}\n")
    for file in (option_file, secret):
        file.chmod(0o600)
    place = server_job.databases.shard_urls["1"].partition("@")[2].partition("/")[0]
    socket = f"unix_socket={server.socket}"
    server_job.configure(
        databases={
            "dict": f"mysql:///ppcdict?{socket}&read_default_file=my.cnf",
            "shards": {
                "1": f"mariadb://{USER}:${{file:{secret}}}@/ppc1?{socket}",
                "2": f"mysql+mysqlconnector://{place}/ppc2?read_default_file=my.cnf",
                "3": f"mariadb+mysqlconnector://{USER}:${{file:{secret}}}@{place}/ppc3",
                "4": f"mysql://{USER}@{place}/ppc4?read_default_file=my.cnf",
            },
        }
    )
    server_job.settle({1: 1, 2: 2, 3: 3, 4: 4})
    server_job.list([1, 2, 3, 4], modified=1_790_000_000)

    assert [server_job.chain("--force").code, server_job.off()] == [0, {1, 2, 3, 4}]
    assert str(server.socket) in server_job.run("doctor").out


def test_a_server_that_is_down_is_named_by_its_socket(server_job: Job) -> None:
    databases = {"dict": f"mysql:///ppcdict?unix_socket={server_job.folder}/none.sock"}
    server_job.configure(databases=databases, run={"retry_timeout": "1s"})

    result = server_job.diff()

    assert result.code == 1
    assert f"{server_job.folder}/none.sock/ppcdict" in result.err
