from __future__ import annotations

import os
import signal
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hypothesis
import pytest

from tests.harness.export import Exporter
from tests.harness.job import TABLE, Job, SqliteFiles
from tests.harness.schema import World, create_world
from tests.harness.servers import Server
from tests.harness.wire import Wired
from tests.harness.yt_faults import INT64, TOKEN
from tests.harness.yt_proxy import YtProxy

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.harness.job import Databases

LOCAL = {None, "", b"", "0.0.0.0", "localhost", b"localhost", "127.0.0.1", b"127.0.0.1", "::1", b"::1"}


# The same examples every time, so that a run which passed passes again; "new" looks for others. No deadline for an
# example: on a busy machine it would fail for no fault of the code.
hypothesis.settings.register_profile("same", deadline=None, derandomize=True)
hypothesis.settings.register_profile("new", deadline=None)

FOLDER = Path(__file__).parent
SERVER_FIXTURES = {"running_server", "second_running_server"}


def pytest_itemcollected(item: pytest.Item) -> None:
    """Mark each test with its layer, the name of its folder."""
    item.add_marker(item.path.relative_to(FOLDER).parts[0])


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Refuse a test that asks for a server outside `servers`, so that `-m "not servers"` really needs none."""
    wrong = [item.nodeid for item in items if SERVER_FIXTURES & set(_fixtures(item)) and not _may_use_servers(item)]
    if wrong:
        raise pytest.UsageError(f"these tests use a server; move them to tests/servers: {', '.join(wrong)}")


def _fixtures(item: pytest.Item) -> list[str]:
    return item.fixturenames if isinstance(item, pytest.Function) else []


def _may_use_servers(item: pytest.Item) -> bool:
    return item.get_closest_marker("servers") is not None


def pytest_configure(config: pytest.Config) -> None:
    if not config.getoption("--hypothesis-profile"):
        hypothesis.settings.load_profile("same")
    # SIGTERM ends the run like Ctrl-C, so that fixtures clean up.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    # nohup, and shells that start jobs in the background, ignore these, and so would each process that a test starts
    # and stops. What is handled, even by doing nothing, is not inherited.
    for number in (signal.SIGHUP, signal.SIGINT):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, lambda *_: None)
    stay_on_this_machine()


def stay_on_this_machine() -> None:
    """Fail every look-up of, and connection to, another machine.

    An audit hook would not do: Python 3.11 calls it whenever a thread sets its trace function, and meanwhile no other
    thread can set its own, which under coverage sometimes ends a thread at its start.
    """
    connect, look_up = socket.socket.connect, socket.getaddrinfo

    def check(host: object) -> None:
        if host not in LOCAL:
            raise RuntimeError(f"a test tried to reach {host!r}; tests use no network")

    def connect_here(self: socket.socket, address: Any) -> None:
        if isinstance(address, tuple):  # otherwise it is the path of a Unix socket
            check(address[0])
        connect(self, address)

    def look_up_here(host: Any, *args: Any, **kwargs: Any) -> Any:
        check(host)
        return look_up(host, *args, **kwargs)

    patch = pytest.MonkeyPatch()  # for the whole run: it is never undone
    patch.setattr(socket.socket, "connect", connect_here)
    patch.setattr(socket, "getaddrinfo", look_up_here)


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Hide how this machine is configured from the tests."""
    for name in [
        name for name in os.environ if name.startswith(("CHATSYNC_", "XDG_", "YT_")) and name != "CHATSYNC_TEST_MYSQLD"
    ]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.fixture(autouse=True)
def no_server_without_the_marker(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse also a server that a running test, or a process that it starts, asks for."""

    def refuse(_: Server) -> None:
        raise RuntimeError(f"{request.node.nodeid} uses a server: move it to tests/servers, or mark it `servers`")

    if not _may_use_servers(request.node):
        monkeypatch.setenv("CHATSYNC_TEST_MYSQLD", "/no/server/without/the/marker/servers")
        monkeypatch.setattr(Server, "recover", refuse)  # for a server that another test has started


@pytest.fixture(scope="session")
def running_server() -> Iterator[Server]:
    with Server() as server:
        yield server


@pytest.fixture(scope="session")
def second_running_server() -> Iterator[Server]:
    with Server() as server:
        yield server


@pytest.fixture
def server(running_server: Server) -> Server:
    """One server for the whole run; it is started again if the last test killed or froze it."""
    running_server.recover()
    return running_server


@pytest.fixture
def second_server(second_running_server: Server) -> Server:
    second_running_server.recover()
    return second_running_server


@pytest.fixture(scope="session")
def made_world(running_server: Server) -> World:
    running_server.recover()
    return create_world(running_server)


@pytest.fixture
def world(server: Server, made_world: World) -> World:  # noqa: ARG001 - the server must be running
    """Empty databases `ppcdict` and `ppc1` .. `ppc4` on one server."""
    made_world.clear()
    return made_world


@pytest.fixture
def wide_world(server: Server, second_server: Server) -> World:
    """The same databases on two servers: `ppcdict`, `ppc2` and `ppc4` on the first, `ppc1` and `ppc3` on the second."""
    return create_world(server, second_server)


@pytest.fixture(params=["sqlite", pytest.param("server", marks=pytest.mark.servers)])
def any_databases(request: pytest.FixtureRequest, tmp_path: Path) -> Databases:
    """Empty databases, first in SQLite files and then on a server."""
    return SqliteFiles(tmp_path) if request.param == "sqlite" else request.getfixturevalue("world")


@pytest.fixture(scope="session")
def types_read_once() -> Iterator[None]:
    """Make clients for YT cheaper from the first test that talks to it."""
    from tests.harness.yt_client import read_types_once  # late: most tests need no client

    with pytest.MonkeyPatch.context() as patch:
        read_types_once(patch)
        yield


@pytest.fixture
def yt(types_read_once: None) -> Iterator[YtProxy]:  # noqa: ARG001 - done once
    """An empty YT cluster."""
    with YtProxy() as proxy:
        yield proxy


@pytest.fixture
def job(tmp_path: Path) -> Job:
    """A job on SQLite files, with an empty list."""
    return Job(tmp_path, SqliteFiles(tmp_path))


@pytest.fixture
def cluster_job(job: Job, yt: YtProxy) -> Job:
    """A job whose list is in the cluster, with a token that the cluster takes."""
    job.keep_list_in(yt)
    job.configure(run={"retry_timeout": "5s"})
    yt.write(TABLE, ids=[1, 2, 3], **INT64)
    yt.tokens = {TOKEN: "robot"}
    job.environment["YT_TOKEN"] = TOKEN
    return job


@pytest.fixture
def exporter(job: Job, yt: YtProxy) -> Exporter:
    """A job whose list is in the cluster, and who writes exports of its databases there."""
    return Exporter(job, yt)


@pytest.fixture
def wired(world: World) -> Iterator[Wired]:
    """The databases of `world`, each behind a wire on which the test can read statements and interrupt them."""
    with Wired(world) as databases:
        yield databases


@pytest.fixture
def wired_job(wired: Wired, tmp_path: Path) -> Job:
    """A job on a real server behind wires, with an empty list."""
    return Job(tmp_path, wired)


@pytest.fixture
def server_job(world: World, tmp_path: Path) -> Job:
    """A job on a real server, with an empty list."""
    return Job(tmp_path, world)
