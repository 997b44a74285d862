"""The clients in step, who are found by sorting: compared with a rule on sets."""

from __future__ import annotations

from unittest.mock import patch

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from chatsync.core import Homes, in_step
from chatsync.core.in_step import separate

SHARDS = [1, 7, 255, 300]  # no client can live on the last one
OTHER = 9

clients = st.integers(0, 25) | st.integers(2**32 - 5, 2**32 - 1)
rows = st.dictionaries(st.tuples(clients, st.sampled_from(SHARDS)), st.booleans(), max_size=40)
homes = st.dictionaries(clients, st.sampled_from([*SHARDS[:3], OTHER, 0]), max_size=30)


def numbers(ids: object) -> np.ndarray[tuple[int], np.dtype[np.uint32]]:
    return np.array(sorted(ids), np.uint32)  # type: ignore[call-overload]


@given(
    home_of=homes,
    listed=st.sets(clients),
    off_on=rows,
    settled=st.booleans(),
    at_once=st.integers(1, 12),
    with_list=st.booleans(),
)
def test_those_in_step_are_counted_and_all_others_left(
    *,
    home_of: dict[int, int],
    listed: set[int],
    off_on: dict[tuple[int, int], bool],
    settled: bool,
    at_once: int,
    with_list: bool,
) -> None:
    if settled:  # most are in step
        listed |= set(list(home_of)[3:])
        off_on |= {(client, home): True for client, home in list(home_of.items())[2:] if home in SHARDS}
    sides = [
        [numbers(c for (c, s), off in off_on.items() if (s, off) == (n, is_off)) for n in SHARDS] for is_off in (1, 0)
    ]
    known = Homes(numbers(home_of), np.array([home_of[client] for client in sorted(home_of)], np.uint8))

    with patch.object(in_step, "_AT_ONCE", at_once):
        found = separate(known, numbers(listed), *sides, shards=SHARDS, with_list=with_list)

    is_in_step = {
        client
        for client, home in home_of.items()
        if (client in listed) == with_list
        and [(s, off) for (c, s), off in off_on.items() if c == client] == [(home, True)]
    }
    left = sorted((c, s, off) for (c, s), off in off_on.items() if c not in is_in_step)
    assert found.in_step.tolist() == [sum(home_of[client] == shard for client in is_in_step) for shard in SHARDS]
    assert found.listed.tolist() == sorted(listed - is_in_step)
    assert list(zip(found.homes.ids.tolist(), found.homes.shards.tolist(), strict=True)) == sorted(
        (client, home) for client, home in home_of.items() if client not in is_in_step
    )
    places = [SHARDS[place] for place in found.rows.places.tolist()]
    assert list(zip(found.rows.ids.tolist(), places, found.rows.off.tolist(), strict=True)) == left
