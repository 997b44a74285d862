"""A diff from an export on a real server: only the clients that differ are asked for, and the grants are enough."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.harness.export import LAST_APPLY, Exporter
from tests.harness.job import TABLE, Job

if TYPE_CHECKING:
    from tests.harness.wire import Wired
    from tests.harness.yt_proxy import YtProxy

HOMES = {client: 1 + client % 4 for client in range(1, 41)}


@pytest.fixture
def exported(wired: Wired, wired_job: Job, yt: YtProxy) -> Exporter:
    """40 clients on 4 shards, 1 to 20 off and listed, synced and exported since."""
    exporter = Exporter(wired_job, yt)
    wired_job.settle_off({client: HOMES[client] for client in range(1, 21)})
    wired_job.settle({client: HOMES[client] for client in range(21, 41)})
    exporter.configure()
    exporter.write()
    yt.write(TABLE, ids=list(range(1, 21)))
    assert wired_job.chain().code == 0
    exporter.write()
    for wire in wired.wires.values():
        wire.statements.clear()
    return exporter


def test_a_chain_from_an_export(exported: Exporter) -> None:
    exported.yt.write(TABLE, ids=[*range(2, 21), 21, 22])

    done = exported.job.chain()

    assert (done.code, done.err) == (0, "")
    assert exported.job.off() == {*range(2, 23)}
    export = exported.job.plan()["export"]
    assert (export["confirmed"], export["contradicted"], export["unused"]) == (3, 0, None)
    assert exported.job.dict_sql("SELECT COUNT(*) FROM ppc_properties WHERE name = %s", LAST_APPLY) == [(1,)]


def test_no_shard_is_asked_for_other_clients(exported: Exporter, wired: Wired) -> None:
    exported.yt.write(TABLE, ids=[*range(2, 21), 21])

    assert exported.job.chain().code == 0

    said = {name: "\n".join(wire.statements) for name, wire in wired.wires.items()}
    assert "is_enabled = 0" in said["ppc2"]
    for shard in (1, 2, 3, 4):
        assert "WHERE feature_id = " not in said[f"ppc{shard}"]  # that would read or count all rows of the feature
        assert ("INSERT INTO" in said[f"ppc{shard}"]) == (shard == 2)
    exported.write()
    exported.job.set_property("1970-01-01")
    for wire in wired.wires.values():
        wire.statements.clear()
    assert exported.job.diff().code == 0
    assert [wired.wires[f"ppc{shard}"].statements for shard in (1, 2, 3, 4)] == [[], [], [], []]


def test_the_databases_have_the_last_word(exported: Exporter) -> None:
    exported.job.row(HOMES[21], 21, 0)
    exported.job.row(HOMES[1], 1, 1)
    exported.yt.write(TABLE, ids=[*range(3, 21), 21, 22])

    assert exported.job.diff().code == 0

    plan = exported.job.plan()
    assert (plan["turn_off"]["3"], plan["turn_on"]["3"]) == ([22], [2])
    assert (plan["export"]["confirmed"], plan["export"]["contradicted"]) == (2, 2)
