from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.harness.clickhouse import ClickHouse

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.harness.export import Exporter


@pytest.fixture(scope="session")
def clickhouse() -> Iterator[ClickHouse]:
    engine = ClickHouse()
    yield engine
    engine.close()


@pytest.fixture
def on_clique(exporter: Exporter, clickhouse: ClickHouse) -> Exporter:
    """A job whose list and export are compared by the clique `chatsync`."""
    exporter.yt.cliques["chatsync"] = clickhouse
    exporter.configure(clique="chatsync")
    return exporter
