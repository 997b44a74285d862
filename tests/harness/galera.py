"""A Galera cluster of two MariaDB nodes: each takes writes, and each has its own locks."""

from __future__ import annotations

import os
import shutil
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tests.harness.servers import ADDRESS, Server, free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

LIBRARY = Path("/usr/lib/galera/libgalera_smm.so")
USER = "mysql"  # what Debian's package of the server adds


class Node(Server):
    """One node; without `peer` it begins a cluster.

    If root starts it, it runs as another user: rsync drops root's rights, and then could not write the data.
    """

    def __init__(self, *, peer: str = "") -> None:
        self.address = f"{ADDRESS}:{free_port()}"
        provider = {
            "gmcast.listen_addr": f"tcp://{self.address}",
            "ist.recv_addr": f"{ADDRESS}:{free_port()}",
            "gcache.size": "8M",
        }
        super().__init__(
            "--wsrep-on=ON",
            f"--wsrep-provider={LIBRARY}",
            f"--wsrep-provider-options={';'.join(f'{key}={value}' for key, value in provider.items())}",
            f"--wsrep-cluster-address=gcomm://{peer}",
            f"--wsrep-node-address={self.address}",
            "--wsrep-sst-method=rsync",
            f"--wsrep-sst-receive-address={ADDRESS}:{free_port()}",
            "--binlog-format=ROW",
            "--innodb-autoinc-lock-mode=2",
        )
        if os.geteuid() == 0:
            for path in (self.folder, *self.folder.rglob("*")):
                shutil.chown(path, USER, USER)

    def _common(self) -> list[str]:
        folders = [f"--datadir={self.data}", f"--tmpdir={self.folder}"]
        if os.geteuid() != 0:
            return folders
        shutil.chown(self.folder, USER, USER)
        return [*folders, f"--user={USER}"]


@contextmanager
def cluster() -> Iterator[tuple[Node, Node]]:
    """Start two nodes; the second one takes its data from the first."""
    with Node() as first:
        second = Node(peer=first.address)
        try:
            second.start()
            yield first, second
        finally:
            second.remove()
