"""Sets of client ids: of all shards, cut into pieces, named in messages."""

from collections.abc import Iterator, Mapping

from pyroaring import BitMap64

MAX_CLIENT_ID = 2**32 - 1  # clients_features.ClientID is INT UNSIGNED

MAX_LIST_ID = 2**63 - 1


IdsByShard = Mapping[int, BitMap64]


def union(sets: Mapping[int, BitMap64]) -> BitMap64:
    """Join the sets of all shards."""
    return BitMap64().union(*sets.values())


def total(sets: Mapping[int, BitMap64]) -> int:
    """Count the ids of all shards."""
    return sum(map(len, sets.values()))


def storable(ids: BitMap64) -> BitMap64:
    """Keep the ids that the databases' columns can hold; only these ever reach a statement."""
    kept = BitMap64(ids)
    kept.remove_range(MAX_CLIENT_ID + 1, MAX_LIST_ID + 1)
    return kept


def chunks(ids: BitMap64, size: int) -> Iterator[BitMap64]:
    """Cut a set into ascending pieces of at most `size` ids."""
    for start in range(0, len(ids), size):
        yield ids[start : start + size]


def some(ids: BitMap64, count: int = 3) -> str:
    """Name a few clients of a set, for messages."""
    first = ", ".join(str(number) for number in ids[:count])
    return f"{first}, …" if len(ids) > count else first
