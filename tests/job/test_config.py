"""The configuration: found, filled in, checked key by key, with a name for everything that is wrong."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatsync.config.database_url import Secret
from chatsync.config.durations import Seconds
from chatsync.config.load import load
from chatsync.config.places import find_config
from chatsync.config.settings import File, Section
from chatsync.config.urls import parse_url
from chatsync.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.harness.job import Job

VALID = """\
[exclusions]
file = "list.csv"

[databases]
dict = "sqlite:///dict.db"
shards.1 = "sqlite:///shard1.db"
shards.2 = "sqlite:///shard2.db"
"""

TOO_LONG = "x" * 101
NO_TEXT = [5, True, ["x"]]
NO_NAME = [*NO_TEXT, "", TOO_LONG]
NO_DURATION = [5, "", "5", "36501d", "0s", "-1m", "1 h", "1x", "h", "1e3s", "٣m", True]
NO_PERCENT = [-0.5, "30", "30%", float("nan"), float("inf"), True]
NO_COUNT = [-1, 1.5, "20", True]
NO_URL = [
    "",
    "dict.db",
    "mysql://h/db?raw=true",
    "postgresql://host/db",
    "mysql://host",
    "mysql:///db",
    "mysql://host:0/db",
    "sqlite://x",
]
ODD_PROXIES = ["yt:99999", "a:80:80", "::1", "http://[::1", "a..b", ".", "yt:0", "http://yt/api", "y t", "yt\x00", "я"]
WRONG: dict[str, list[Any]] = {
    "exclusions.proxy": [*NO_TEXT, "http://", "ftp://hahn", "http://user:secret@hahn", *ODD_PROXIES],
    "exclusions.path": [*NO_TEXT, "//home/list[#0:#10]", "//home/list{client_id}", "<a=b>//home/list"],
    "exclusions.column": NO_NAME,
    "exclusions.token_file": NO_TEXT,
    "exclusions.use_hosts": [5, "yes"],
    "exclusions.file": NO_TEXT,
    "exclusions.settle": NO_DURATION,
    "feedback.path": [*NO_TEXT, "//home/list[#0:#10]", "//home/list{client_id}", "<a=b>//home/list"],
    "feature.name": NO_NAME,
    "modtime.property": NO_NAME,
    "modtime.timezone": [*NO_TEXT, "", "Mars/Olympus", "../../etc/passwd", "/etc/localtime", "+03:00"],
    "databases.dict": [5, *NO_URL, "sqlite:///", "mysql://host:x/db", "mysql://host:65536/db"],
    "databases.shards": [5, "sqlite:///x.db", {}, [], {"1": 5}],
    "databases.shards.1": NO_URL,
    "databases.replicas": [5, [], {"1": 5}],
    "databases.replicas.1": NO_URL,
    "limits.turn_on_percent": NO_PERCENT,
    "limits.turn_off_percent": NO_PERCENT,
    "limits.free": NO_COUNT,
    "limits.turn_on_max": NO_COUNT,
    "limits.turn_off_max": NO_COUNT,
    "limits.rejected_percent": NO_PERCENT,
    "limits.unknown_percent": NO_PERCENT,
    "limits.must_contain": [5, ["5"], [0], [-1], [1.5]],
    "limits.plan_max_age": NO_DURATION,
    "limits.export_max_age": NO_DURATION,
    "limits.contradicted_percent": NO_PERCENT,
    "export.path": [*NO_TEXT, "//home/db/clients_features", "//home/{shard}/x[#1]", "<a=b>//home/{shard}/x"],
    "export.shard_column": NO_TEXT,
    "export.client": [5, ""],
    "export.feature": [5, ""],
    "export.enabled": [5, ""],
    "export.time": [5, ""],
    "export.takes": [-1, "1", "soon", True],
    "export.when_stale": [5, "", "ignore"],
    "export.clique": NO_TEXT,
    "export.timeout": NO_DURATION,
    "export.settings": [5, ["x"], {"a": []}],
    "export.property": [*NO_TEXT, "x" * 101],
    "apply.batch_size": [0, 30_001, 1.5, "1000"],
    "apply.pause": [-1, "1", "soon", "-1s", True, float("nan")],
    "apply.parallel_shards": [0, 257, 1.5],
    "apply.max_lag": [-1, "5", False, [5], float("inf")],
    "apply.max_lag_wait": NO_DURATION,
    "run.deadline": NO_DURATION,
    "run.retry_timeout": NO_DURATION,
    "records.dir": NO_TEXT,
    "records.keep": NO_DURATION,
    "metrics.textfile": NO_TEXT,
    "monitoring.host": NO_TEXT,
    "monitoring.service": NO_NAME,
    "monitoring.drift_tolerance": NO_COUNT,
    "monitoring.state_file": NO_TEXT,
    "logs.service": NO_NAME,
    "logs.method": NO_TEXT,
    "notify.command": ["mail", [1], [""], True],
    "notify.timeout": NO_DURATION,
    "notify.waiting": NO_DURATION,
    "people.language": ["fr", "EN", "", 1],
}


def known_keys(kind: type[Section], prefix: str = "") -> Iterator[str]:
    for key, hint in get_type_hints(kind).items():
        if isinstance(hint, type) and issubclass(hint, Section):
            yield from known_keys(hint, f"{prefix}{key}.")
        else:
            yield prefix + key


def toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {toml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    return str(value).lower() if isinstance(value, (bool, float)) else repr(value)


def write(folder: Path, text: str) -> Path:
    path = folder / "chatsync.toml"
    path.write_text(text, encoding="utf-8")
    return path


def with_key(key: str, value: Any) -> str:
    """The valid configuration with one key set."""
    document = tomllib.loads(VALID)
    if key.startswith("exclusions.") and key != "exclusions.file":
        document["exclusions"] = {"proxy": "hahn", "path": "//home/list"}
    if key.startswith("export."):
        document |= {"exclusions": {"proxy": "hahn", "path": "//home/list"}, "export": {"path": "//home/{shard}/x"}}
    *path, last = key.split(".")
    table = document
    for name in path:
        table = table.setdefault(name, {})
    table[last] = value
    return "\n".join(f"{name} = {toml(section)}" for name, section in document.items())


def refusal(folder: Path, text: str) -> str:
    """Load a wrong configuration; its message, without the path of the file."""
    path = write(folder, text)
    with pytest.raises(ConfigError) as caught:
        load(path)
    return str(caught.value).removeprefix(f"configuration {path}: ")


# -- wrong values --------------------------------------------------------------------------------------------------


def test_every_key_has_wrong_values_here() -> None:
    assert {key.removesuffix(".1") for key in WRONG} == set(known_keys(File))


@pytest.mark.parametrize("key", WRONG)
def test_a_wrong_value_names_its_key(tmp_path: Path, key: str) -> None:
    messages = {repr(value): refusal(tmp_path, with_key(key, value)) for value in WRONG[key]}

    assert {value: message for value, message in messages.items() if re.split(r"[:[]", message)[0] != key} == {}


@pytest.mark.parametrize("section", get_type_hints(File))
def test_a_section_that_is_no_table_is_named(tmp_path: Path, section: str) -> None:
    document = {**tomllib.loads(VALID), section: 5}
    text = "\n".join(f"{name} = {toml(value)}" for name, value in document.items())

    assert refusal(tmp_path, text) == f"{section}: expected object, got int"


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("exclusion.file", "unknown key exclusion; did you mean exclusions?"),
        ("limits.turn_of_percent", "unknown key limits.turn_of_percent; did you mean limits.turn_off_percent?"),
        ("apply.batchsize", "unknown key apply.batchsize; did you mean apply.batch_size?"),
        ("databases.shard.1", "unknown key databases.shard; did you mean databases.shards?"),
        ("run.zzz", "unknown key run.zzz; did you mean run."),
    ],
)
def test_an_unknown_key_is_named_with_the_nearest_known_one(tmp_path: Path, key: str, message: str) -> None:
    assert refusal(tmp_path, with_key(key, 5)).startswith(message)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "missing key exclusions"),
        ('[exclusions]\nfile = "x"', "missing key databases"),
        ('[exclusions]\nfile = "x"\n[databases]\nshards.1 = "sqlite:///x"', "databases: missing key dict"),
        ('[exclusions]\nfile = "x"\n[databases]\ndict = "sqlite:///x"', "databases: missing key shards"),
        (VALID.replace('file = "list.csv"', ""), "missing key exclusions.path (or exclusions.file)"),
        (VALID.replace('file = "list.csv"', 'proxy = "hahn"'), "missing key exclusions.path (or exclusions.file)"),
        (
            VALID.replace('file = "list.csv"', 'file = "x"\nproxy = "hahn"'),
            "exclusions: give either file, or proxy and path, not both",
        ),
        (VALID.replace("shards.2", "shards.two"), "databases.shards.two: the name of a shard is its number"),
        (VALID.replace("shards.2", "shards.256"), "databases.shards.256: the name of a shard is its number"),
        (VALID.replace("shards.2", "shards.01"), "databases.shards.01: the name of a shard is its number"),
        (VALID.replace("shard2.db", "shard1.db"), "databases.shards.2: the same database as shard 1"),
        (VALID + 'replicas.3 = "sqlite:///x"', "databases.replicas.3: there is no such shard in databases.shards"),
        (VALID + "[apply]\nmax_lag = 5", "apply.max_lag: name the replicas to watch in databases.replicas"),
        (VALID + "[run", "Expected ']' at the end of a table declaration"),
        (VALID + "[run]\n[run]", "Cannot declare ('run',) twice"),
    ],
)
def test_what_is_missing_or_does_not_go_together_is_named(tmp_path: Path, text: str, message: str) -> None:
    assert refusal(tmp_path, text).startswith(message)


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "chatsync.toml"
    path.write_bytes(b"\xff\xfe")

    with pytest.raises(ConfigError, match="'utf-8' codec"):
        load(path)


def test_a_byte_order_mark_is_no_error(job: Job) -> None:
    job.config.write_bytes(b"\xef\xbb\xbf" + job.config.read_bytes())

    assert job.diff().code == 0


# -- where it is ---------------------------------------------------------------------------------------------------


def test_the_option_wins_over_the_environment_and_that_over_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    users = tmp_path / "xdg" / "chatsync"
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg"))
    places = re.escape(f"chatsync.toml, {users / 'chatsync.toml'}, /etc/chatsync/chatsync.toml")
    with pytest.raises(ConfigError, match=f"no configuration file: none of {places} exists;"):
        find_config(None)

    users.mkdir(parents=True)
    (users / "chatsync.toml").touch()
    assert find_config(None) == users / "chatsync.toml"
    Path("chatsync.toml").touch()
    assert find_config(None) == Path("chatsync.toml")
    monkeypatch.setenv("CHATSYNC_CONFIG", "other.toml")
    assert find_config(None) == Path("other.toml")
    assert find_config(Path("named.toml")) == Path("named.toml")


def test_a_place_that_cannot_be_looked_at_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr("chatsync.config.places.default_places", lambda: (tmp_path / "file" / "chatsync.toml",))

    with pytest.raises(ConfigError, match=r"file/chatsync\.toml: Not a directory"):
        find_config(None)


@pytest.mark.parametrize("folder", ["", "relative"])
def test_the_users_place_is_in_the_home_folder_unless_xdg_says_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", folder)
    place = Path.home() / ".config" / "chatsync" / "chatsync.toml"
    place.parent.mkdir(parents=True)
    place.touch()

    assert find_config(None) == place


@pytest.mark.parametrize("command", [["diff"], ["apply"], ["set-modtime", "--reset"]])
def test_a_file_that_is_not_there_is_exit_2(job: Job, command: list[str]) -> None:
    job.config.unlink()

    result = job.run(*command)

    expected = f"chatsync: configuration {job.config}: No such file or directory\n"
    assert (result.code, result.out, result.err) == (2, "", expected)


def test_relative_paths_are_relative_to_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "etc"
    folder.mkdir()
    (folder / "ca.pem").touch()
    text = VALID + 'shards.3 = "mysql://host/ppc?ssl_ca=ca.pem"\n[records]\ndir = "../runs"\n[metrics]\ntextfile = "m"'
    monkeypatch.chdir(tmp_path)

    settings = load(write(folder, text))

    assert settings.exclusions.file == str(folder / "list.csv")
    assert settings.databases.dict.database == str(folder / "dict.db")
    assert settings.databases.shards[3].options == {"ssl_ca": str(folder / "ca.pem")}
    assert Path(settings.records.dir).resolve() == tmp_path / "runs"
    assert settings.metrics.textfile == str(folder / "m")


def test_defaults_are_those_of_the_interface(tmp_path: Path) -> None:
    settings = load(write(tmp_path, VALID))

    limits = {field: getattr(settings.limits, field) for field in settings.limits.__struct_fields__}
    assert limits == {
        "turn_on_percent": 30,
        "turn_off_percent": 30,
        "free": 20,
        "turn_on_max": None,
        "turn_off_max": None,
        "rejected_percent": 1,
        "unknown_percent": 10,
        "must_contain": (),
        "plan_max_age": 3600,
        "export_max_age": 36 * 3600,
        "contradicted_percent": 50,
    }
    assert (settings.exclusions.column, settings.feature.name) == ("client_id", "checked_support_chat")
    assert settings.modtime.property == "CHECKED_SUPPORT_CHAT_FEATURE_LAST_SYNCED_MOD_TIME"
    assert (settings.apply.batch_size, float(settings.run.deadline), str(settings.timezone)) == (1000, 1200, "UTC")


# -- variables and passwords ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("exclusions.path", "//home/${CHATSYNC_UNSET}/list"),
        ("feature.name", "${CHATSYNC_UNSET}"),
        ("databases.dict", "mysql://user:${CHATSYNC_UNSET}@host/db"),
        ("databases.shards.1", "mysql://host/db?ssl_ca=${CHATSYNC_UNSET}"),
        ("records.dir", "${CHATSYNC_UNSET}/runs"),
    ],
)
def test_a_variable_that_is_not_set_is_named(tmp_path: Path, key: str, value: str) -> None:
    message = refusal(tmp_path, with_key(key, value))

    assert message == f"{key}: the environment variable CHATSYNC_UNSET is not set"


def test_variables_stand_anywhere_in_a_string(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WHOSE", "sales")
    monkeypatch.setenv("SET_BUT_EMPTY", "")

    settings = load(write(tmp_path, with_key("exclusions.path", "//home/${WHOSE}/${SET_BUT_EMPTY}list")))

    assert settings.exclusions.path == "//home/sales/list"


@given(password=st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])))
def test_a_password_from_the_environment_may_hold_any_character(password: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PPC_PASSWORD", password)
        url = parse_url("mysql://user:${PPC_PASSWORD}@host:3307/ppc?connection_timeout=5", base=Path("/"))

    assert url.password is not None
    assert url.password.reveal() == password
    assert (url.user, url.host, url.port, url.database) == ("user", "host", 3307, "ppc")
    assert (url.options, url.password_is_literal) == ({"connection_timeout": 5}, False)
    assert str(url) == "host:3307/ppc"


@pytest.mark.parametrize(
    ("url", "user", "password", "place"),
    [
        ("mysql://host/db", "", None, "host:3306/db"),
        ("mysql://user@host/db", "user", None, "host:3306/db"),
        ("mysql://user:@host/db", "user", "", "host:3306/db"),
        ("mysql://us%40er:p%3Aw%25@host/db", "us@er", "p:w%", "host:3306/db"),
        ("mysql://user:p@s/s?w#rd@host/db", "user", "p@s/s?w#rd", "host:3306/db"),
        ("mysql://user:x@[::1]:3307/db", "user", "x", "::1:3307/db"),
        ("mysql://user:x@host/db?init_command=SET @x=1&user_agent=a@b/c", "user", "x", "host:3306/db"),
    ],
)
def test_how_a_url_is_split(url: str, user: str, password: str | None, place: str) -> None:
    split = parse_url(url, base=Path("/"))

    assert (split.user, split.password and split.password.reveal(), str(split)) == (user, password, place)


def test_options_take_the_types_that_the_driver_asks_for() -> None:
    split = parse_url("mysql://host/db?tls_versions=TLSv1.2,TLSv1.3&compress=true&connection_timeout=5", base=Path("/"))

    assert split.options == {"tls_versions": ["TLSv1.2", "TLSv1.3"], "compress": True, "connection_timeout": 5}


@pytest.mark.parametrize(
    "option",
    [
        "host=other", "port=3307", "unix_socket=/run/mysqld.sock", "user=root", "password=hunter2", "passwd=hunter2",
        "password2=hunter2", "database=ppc2", "db=ppc2", "dsn=x", "dns_srv=true", "failover=x", "option_files=my.cnf",
        "read_default_file=my.cnf", "allow_local_infile=true", "allow_local_infile_in_path=/",
        "pool_size=3",
    ],
)  # fmt: skip
def test_an_option_that_leads_elsewhere_or_opens_a_door_is_refused(option: str) -> None:
    """`?database=ppc2` made shard 1 and shard 2 one schema, under two names."""
    with pytest.raises(ValueError, match=rf"^option {option.partition('=')[0]}: ") as refused:
        parse_url(f"mysql://user:x@host/ppc1?ssl_disabled=true&{option}", base=Path("/"))

    assert "hunter2" not in str(refused.value)


def test_a_secret_prints_as_stars() -> None:
    secret = Secret("hunter2")

    assert [str(secret), repr(secret), f"{secret}", f"{[secret]}"] == ["***", "***", "***", "[***]"]


# -- what only the databases can tell ------------------------------------------------------------------------------


def test_a_client_on_a_shard_that_is_not_configured_is_exit_2_and_not_unknown(job: Job) -> None:
    job.settle({1: 1, 5: 4, 6: 4, 7: 4, 8: 4})
    job.list([1, 5, 6, 7, 8, 99])
    shards = {name: url for name, url in job.databases.shard_urls.items() if name != "4"}
    job.configure(databases={"shards": shards})

    result = job.diff()

    assert (result.code, result.out) == (2, "")
    message = "shard 4 is missing from databases.shards, and 4 clients, listed or off (5, 6, 7, …) live on it; add it"
    assert result.err.startswith(f"chatsync: {message}")
    assert not job.plan_file.exists()


@pytest.mark.parametrize(
    ("name", "proposed"),
    [
        ("new_chat", "NEW_CHAT_FEATURE_LAST_SYNCED_MOD_TIME"),
        ("new-chat.v2", "NEW_CHAT_V2_FEATURE_LAST_SYNCED_MOD_TIME"),
    ],
)
def test_another_feature_needs_a_property_of_its_own(job: Job, name: str, proposed: str) -> None:
    """With the default it would move the mod-time of the other feature, whose changes would be lost unseen."""
    job.configure(feature={"name": name})

    result = job.diff()

    assert result.code == 2
    assert result.err.endswith(
        f": modtime.property: feature {name!r} needs a property of its own; for example {proposed!r}\n"
    )


def test_a_feature_that_is_not_there_is_exit_2(job: Job) -> None:
    job.configure(feature={"name": "checked_suport_chat"}, modtime={"property": "P"})

    result = job.diff()

    assert (result.code, result.out) == (2, "")
    assert result.err.startswith("chatsync: feature.name: dict (")
    assert "has no feature 'checked_suport_chat' in table features" in result.err


@given(st.lists(st.tuples(st.integers(1, 999), st.sampled_from("smhdw")), min_size=1, max_size=4))
def test_durations_add_up(parts: list[tuple[int, str]]) -> None:
    text = "".join(f"{number}{unit}" for number, unit in parts)

    seconds = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
    assert float(Seconds.parse(text)) == sum(number * seconds[unit] for number, unit in parts)
