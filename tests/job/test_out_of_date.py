"""Plans that are not true any more, or never were: exit 4 (or 2), one line, and nothing written."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from chatsync.core.times import format_time
from tests.harness.job import FEATURE_ID

if TYPE_CHECKING:
    from tests.harness.job import Job

Document = dict[str, Any]


@pytest.fixture
def planned(job: Job) -> Job:
    """Turn off 1 on shard 1 and 2 on shard 2; turn on 3 on shard 3."""
    job.settle({1: 1, 2: 2})
    job.settle_off({3: 3})
    job.list([1, 2], modified=1_790_000_000)
    job.diff()
    return job


def signed(document: Document) -> Document:
    """Put the right checksum on a document, as somebody would who knows how plans are made."""
    body = {key: value for key, value in document.items() if key != "sha256"}
    canonical = json.dumps(body, sort_keys=True, separators=(",", ":"))
    return body | {"sha256": hashlib.sha256(canonical.encode()).hexdigest()}


def refused(job: Job, *words: str, codes: tuple[int, ...] = (4,)) -> None:
    """See that neither apply nor set-modtime takes the plan, and that each says so in one line."""
    before = job.rows(), job.property()
    applied, recorded = job.apply("--force", "--allow-empty"), job.set_modtime()
    for result in (applied, recorded):
        assert result.code in codes, result
        assert result.err.startswith("chatsync: ")
        assert result.err.count("\n") == 1
    for word in words:
        assert word in applied.err
    assert (job.rows(), job.property()) == before


# -- what was true once --


@pytest.mark.parametrize(("max_age", "code"), [("1h", 0), ("59m", 4)])
def test_age(planned: Job, max_age: str, code: int) -> None:
    old = datetime.now(UTC) - timedelta(minutes=59, seconds=50)
    planned.plan_file.write_text(json.dumps(signed(planned.plan() | {"created_at": format_time(old)})))
    planned.configure(limits={"plan_max_age": max_age})

    shown = planned.run("show", str(planned.plan_file))

    assert ("exit 4: the plan is out of date: it is 59 min" in shown.out) == bool(code)
    if code:
        refused(planned, "over limits.plan_max_age = 59 min 0 s; run `chatsync diff` again")
    assert planned.apply().code == code


def test_from_the_future(planned: Job) -> None:
    planned.plan_file.write_text(json.dumps(signed(planned.plan() | {"created_at": "2126-01-01T00:00:00.000000Z"})))

    refused(planned, "ahead of this clock")


def test_edited(planned: Job) -> None:
    text = planned.plan_file.read_text()
    planned.plan_file.write_text(text.replace('"turn_off": {"1": [1]', '"turn_off": {"1": [7]'))
    assert planned.plan_file.read_text() != text

    refused(planned, "its sha256 does not match")


@pytest.mark.parametrize("share", [0, 0.5, 0.99])
def test_cut_short(planned: Job, share: float) -> None:
    whole = planned.plan_file.read_bytes()
    planned.plan_file.write_bytes(whole[: int(len(whole) * share)])

    refused(planned, str(planned.plan_file))


def test_another_feature(planned: Job) -> None:
    planned.configure(feature={"name": "another_feature"}, modtime={"property": "ANOTHER_PROPERTY"})

    refused(planned, "it is for feature checked_support_chat, but the configuration is for another_feature")
    assert "exit 4: the plan is out of date: it is for feature" in planned.run("show", str(planned.plan_file)).out


def test_a_feature_that_was_made_anew(planned: Job) -> None:
    planned.dict_sql("UPDATE features SET feature_id = 777 WHERE feature_id = %s", FEATURE_ID)

    refused(planned, "feature checked_support_chat has id 777, but the plan says 217")


def test_other_databases(planned: Job) -> None:
    urls = dict(planned.databases.shard_urls)
    planned.configure(databases={"shards": {"1": urls["2"], "2": urls["1"], "3": urls["3"], "4": urls["4"]}})

    refused(planned, "it is not for the databases in")


def test_a_shard_that_was_added(planned: Job) -> None:
    planned.configure(databases={"shards": {**planned.databases.shard_urls, "5": planned.databases.dict_url}})

    refused(planned, "it is not for the databases in")


@pytest.mark.parametrize("value", ["2026-10-01T00:00:00Z", "2026-01-01", "1970-01-01"])
def test_the_mod_time_moved_since(planned: Job, value: str) -> None:
    planned.set_property(value)

    refused(planned, "the mod-time was not set and is now")


def test_the_mod_time_is_gone(planned: Job) -> None:
    planned.set_property("2026-01-01")
    planned.diff()
    planned.set_property(None)

    refused(planned, "the mod-time was 2026-01-01T00:00:00.000000Z and is now not set")


def test_the_same_time_written_otherwise_is_the_same(planned: Job) -> None:
    planned.set_property("2026-01-01T00:00:00Z")
    planned.diff()
    planned.set_property("2026-01-01 03:00:00+03:00")

    assert planned.apply().code == 0


def test_clients_that_moved_to_another_shard(planned: Job) -> None:
    planned.dict_sql("UPDATE shard_client_id SET shard = 4 WHERE ClientID = 2")
    before = planned.rows()

    result = planned.apply()

    assert result.code == 4
    assert "1 client to change on shard 2 (2) no longer live there" in result.err
    assert planned.rows() == before


# -- what never was a plan --


REMOVED = "removed"


def patched(document: Document, patch: Document) -> Document:
    """Change values of a document, one level down too."""
    merged = {
        key: {**document[key], **value} if isinstance(value, dict) and isinstance(document.get(key), dict) else value
        for key, value in patch.items()
    }
    return {key: value for key, value in {**document, **merged}.items() if value != REMOVED}


@pytest.mark.parametrize(
    "patch",
    [
        {"version": 2},
        {"version": True},
        {"version": "1"},
        {"version": REMOVED},
        {"target": REMOVED},
        {"surprise": 1},
        {"verdict": "perhaps"},
        {"created_at": "yesterday"},
        {"created_at": "2026-11-23 10:30:00"},
        {"modtime": 0},
        {"off_now": -1},
        {"off_now": "many"},
        {"exclusions": {"modification_time": "soon"}},
        {"exclusions": {"modification_time": "9999-12-31T23:59:59-10:00"}},
        {"modtime": "0001-01-01T00:00:00+10:00"},
        {"verdict": "in-sync"},
        {"verdict": "not-modified"},
        {"verdict": "disabled"},
        {"verdict": "disabled", "turn_off": {"1": [], "2": []}, "turn_on": {"3": []}},  # by no mod-time
        {"turn_on": REMOVED},
        {"turn_on": {"5": []}},
        {"exclusions": {"clients": -1}},
        {"exclusions": {"rejected_count": -5}},
        {"feature": {"id": 2**70}},
        {"feature": {"id": "217"}},
        {"turn_off": {"1": [2**32]}},
        {"turn_off": {"1": [10**400]}},
        {"turn_off": {"1": [0]}},
        {"turn_off": {"1": [-1]}},
        {"turn_off": {"1": [1.0]}},
        {"turn_off": {"1": [1e300]}},
        {"turn_off": {"1": [True]}},
        {"turn_off": {"1": ["1"]}},
        {"turn_off": {"1": ["1; DROP TABLE clients_features"]}},
        {"turn_off": {"1": [2, 1]}},
        {"turn_off": {"1": [1, 1]}},
        {"turn_off": {"1": None}},
        {"turn_off": {"1": {"1": 1}}},
        {"turn_off": {"one": [1]}},
        {"turn_off": {"99": [1]}},
        {"turn_off": {"-1": [1]}},
        {"turn_off": {"01": [1, 2]}},
        {"turn_off": {"2": [1, 2]}},
        {"turn_off": {"3": [3]}},
        {"turn_off": {"1": [1, 2], "2": []}},  # an id of another shard
        {"turn_off": [1]},
        {"unknown": [2**63]},
        {"unknown": "99"},
    ],
    ids=lambda patch: str(patch)[:50],
)
def test_a_plan_with_a_right_checksum_and_wrong_content(planned: Job, patch: Document) -> None:
    planned.plan_file.write_text(json.dumps(signed(patched(planned.plan(), patch))))

    refused(planned)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b'"plan"',
        b"\xff\xfe\x00",
        b"\x00" * 100,
        b"[" * 100_000,
        b'{"version": 1, "version": 1}',
        b'{"version": ' + b"9" * 5000 + b"}",
        b'{"version": 1, "sha256": "\\ud800"}',
        b"NaN",
    ],
    ids=lambda content: repr(content)[:40],
)
def test_a_file_that_is_no_plan(planned: Job, content: bytes) -> None:
    planned.plan_file.write_bytes(content)

    refused(planned)


def test_a_key_that_stands_there_twice(planned: Job) -> None:
    """The last one would win, and the checksum be that of the document it makes."""
    text = planned.plan_file.read_text()
    planned.plan_file.write_text('{"turn_off": {"1": [1], "2": [], "3": [], "4": []}, ' + text[1:])

    refused(planned, "it has a key twice")


def test_a_file_that_is_not_there(planned: Job) -> None:
    planned.plan_file.unlink()

    refused(planned, codes=(2,))


def test_a_folder(planned: Job) -> None:
    planned.plan_file.unlink()
    planned.plan_file.mkdir()

    refused(planned, codes=(2,))


quick = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.mark.slow
@quick
@given(data=st.data())
def test_bytes_changed_at_random(planned: Job, original: bytes, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(original) - 2))
    size, new = data.draw(st.integers(1, 3)), data.draw(st.binary(max_size=4))
    content = original[:at] + new + original[at + size :]
    planned.plan_file.write_bytes(content)
    before = planned.rows()

    result = planned.apply("--force")

    same = json_or_none(content) == json.loads(original)  # white space may change and mean nothing
    assert same or (result.code, result.err.count("\n")) == (4, 1)
    assert same or planned.rows() == before


def json_or_none(content: bytes) -> Any:
    try:
        return json.loads(content)
    except ValueError:
        return None


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
anything = scalars | st.lists(scalars, max_size=3) | st.dictionaries(st.text(max_size=3), scalars, max_size=3)
KEYS = ("version", "created_at", "verdict", "feature", "exclusions", "turn_off", "turn_on", "unknown", "target")


def are_unknown(value: Any, *, changed: dict[str, Any]) -> bool:
    """Whether these may be clients on no shard, of which a plan only tells: ascending ids, none of them changed."""
    if not isinstance(value, list) or not all(type(item) is int and 0 < item < 2**63 for item in value):
        return False
    ids = {client for action in ("turn_off", "turn_on") for here in changed[action].values() for client in here}
    return value == sorted(set(value)) and not ids & set(value)


@pytest.mark.slow
@quick
@given(key=st.sampled_from(KEYS), value=anything)
@example(key="unknown", value=[0])
@example(key="unknown", value=[1])
@example(key="unknown", value=[4])
def test_values_of_any_kind_with_a_right_checksum(planned: Job, original: bytes, key: str, value: Any) -> None:
    planned.plan_file.write_text(json.dumps(signed(json.loads(original) | {key: value})))
    before = planned.rows()

    result = planned.apply("--force")

    harmless = (key in ("turn_off", "turn_on", "unknown") and value in ({}, [])) or (key, value) == ("version", 1)
    harmless = harmless or (key == "unknown" and are_unknown(value, changed=json.loads(original)))
    assert harmless or (result.code, result.err.count("\n")) == (4, 1)
    assert harmless or planned.rows() == before


@pytest.fixture
def original(planned: Job) -> bytes:
    return planned.plan_file.read_bytes()
