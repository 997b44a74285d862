"""The job on a Galera cluster of two nodes behind HAProxy. It runs only when asked for: `make test-galera`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.harness.galera import LIBRARY, cluster
from tests.harness.haproxy import HaProxy
from tests.harness.job import PROPERTY, Job
from tests.harness.schema import PASSWORD, USER, create_world
from tests.harness.wire import locked_row, wait_for_statement, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.harness.galera import Node
    from tests.harness.schema import World

IS_ASKED_FOR = "CHATSYNC_TEST_GALERA" in os.environ and LIBRARY.exists()

pytestmark = pytest.mark.skipif(not IS_ASKED_FOR, reason="make test-galera")


@pytest.fixture(scope="module")
def nodes() -> Iterator[tuple[Node, Node]]:
    with cluster() as both:
        yield both


@pytest.fixture(scope="module")
def made(nodes: tuple[Node, Node]) -> World:
    return create_world(nodes[0])


@pytest.fixture
def galera(made: World, tmp_path: Path) -> Job:
    """Clients 1 to 6 of shard 1 are to be turned off, in batches of two; each URL leads to the first node."""
    made.clear()
    job = Job(tmp_path, made)
    job.configure(apply={"batch_size": 2})
    job.settle(dict.fromkeys(range(1, 7), 1))
    job.list(range(1, 7))
    return job


def dict_behind(proxy: HaProxy, job: Job, node: Node) -> dict[str, str]:
    return {"dict": proxy.url(node, job.databases.dict_url)}


def test_a_chain_on_one_node_is_there_on_the_other(galera: Job, nodes: tuple[Node, Node]) -> None:
    _, second = nodes

    assert galera.chain().code == 0
    off = "SELECT COUNT(*) FROM ppc1.clients_features WHERE is_enabled = 0"
    wait_until(lambda: second.sql(off) == [(6,)])
    wait_until(lambda: second.sql("SELECT COUNT(*) FROM ppcdict.ppc_properties") == [(1,)])
    assert second.sql("SELECT value FROM ppcdict.ppc_properties WHERE name = %s", args=[PROPERTY]) == [
        (galera.property(),)
    ]


def test_behind_a_proxy_that_deals_connections_out_nothing_is_applied(galera: Job, nodes: tuple[Node, Node]) -> None:
    first, second = nodes
    with HaProxy(first, second, balance="roundrobin") as proxy:
        galera.configure(databases=dict_behind(proxy, galera, first))
        assert galera.diff().code == 0

        applied = galera.apply()
        doctor = galera.run("doctor")

    assert (applied.code, galera.off()) == (2, set())
    assert "lead to different servers, and the lock of the job (GET_LOCK) is known to one of them only" in applied.err
    assert "connections lead to different servers, and each has locks of its own" in doctor.out
    assert doctor.code == 1


def test_behind_a_proxy_that_keeps_to_one_node_two_at_once_do_not_both_run(
    galera: Job, nodes: tuple[Node, Node]
) -> None:
    first, second = nodes
    with HaProxy(first, second) as proxy:
        galera.configure(apply={"batch_size": 2}, databases=dict_behind(proxy, galera, first))
        assert galera.diff().code == 0
        galera.row(1, 3, 1)
        with locked_row(first, "ppc1", 3) as let_go:
            process = galera.start("apply", "--plan", str(galera.plan_file))
            wait_for_statement(first, "%ClientID IN (3, 4) FOR UPDATE")

            another = galera.run("apply", "--yes")
            let_go()
            _, err = process.communicate(timeout=60)

    assert (another.code, process.returncode, err) == (6, 0, "")
    assert galera.off() == set(range(1, 7))


def test_each_step_goes_on_at_the_node_that_the_proxy_leads_to(galera: Job, nodes: tuple[Node, Node]) -> None:
    first, second = nodes
    with HaProxy(first, second) as proxy:
        galera.configure(databases=dict_behind(proxy, galera, first))
        assert galera.diff().code == 0
        proxy.switch()

        assert (galera.apply().code, galera.set_modtime().code) == (0, 0)

    wait_until(lambda: galera.property() is not None)
    assert galera.off() == set(range(1, 7))


def test_one_node_by_name_is_a_warning_of_the_doctor(galera: Job) -> None:
    assert "a node of a Galera cluster, and each node has locks of its own; name one server" in galera.run("doctor").out


@pytest.mark.parametrize("command", ["diff", "doctor"])
def test_two_shards_that_are_one_schema_of_the_cluster(galera: Job, nodes: tuple[Node, Node], command: str) -> None:
    """By two nodes: other hosts, ports and server ids, and the same rows."""
    _, second = nodes
    urls = dict(galera.databases.shard_urls)
    galera.configure(databases={"shards": urls | {"3": second.url("ppc1", USER, PASSWORD)}})

    result = galera.run(command)

    assert result.code == (2 if command == "diff" else 1)
    assert "the same database as shard 1" in result.out + result.err
