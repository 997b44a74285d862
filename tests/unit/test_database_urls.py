"""The ways to name a database and to keep its password out of the configuration."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from chatsync.config.option_file import read_option_file
from chatsync.config.urls import parse_url
from chatsync.config.variables import fill_in

if TYPE_CHECKING:
    from chatsync.config.database_url import DatabaseUrl

ROOT = Path("/")


def login(url: DatabaseUrl) -> tuple[str, str | None]:
    return url.user, url.password.reveal() if url.password else None


def written(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    path.chmod(0o600)
    return path


@pytest.mark.parametrize("scheme", ["mysql", "mysql+mysqlconnector", "mariadb", "mariadb+mysqlconnector"])
def test_all_names_of_the_scheme_mean_the_same(scheme: str) -> None:
    url = parse_url(f"{scheme}://user:x@host/ppc?compress=true", base=ROOT)

    assert (str(url), login(url), url.options) == ("host:3306/ppc", ("user", "x"), {"compress": True})


@pytest.mark.parametrize("scheme", ["mysql+pymysql", "mariadbs", "postgresql", "MYSQL", ""])
def test_any_other_scheme_is_refused_with_those_that_are_known(scheme: str) -> None:
    with pytest.raises(ValueError, match=r"^expected mysql://.* \(also mariadb://\) or sqlite:///FILE$"):
        parse_url(f"{scheme}://user:x@host/ppc", base=ROOT)


@pytest.mark.parametrize("user", ["", "user@", "user:p@s/s@"])
def test_a_socket_takes_the_place_of_the_host(user: str) -> None:
    url = parse_url(f"mysql://{user}/ppc?unix_socket=/run/mysqld/mysqld.sock", base=ROOT)

    assert (url.host, url.port, url.unix_socket) == ("", 0, "/run/mysqld/mysqld.sock")
    assert (str(url), url.is_sqlite, url.options) == ("/run/mysqld/mysqld.sock/ppc", False, {})
    assert login(url) == {"": ("", None), "user@": ("user", None), "user:p@s/s@": ("user", "p@s/s")}[user]


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("mysql://host/ppc?unix_socket=/x", "option unix_socket: a socket takes the place of the host: "),
        ("mysql:///ppc?compress=true", "a mysql:// URL without a host needs unix_socket=FILE"),
        ("mysql:///ppc", "a mysql:// URL needs a host and a schema"),
        ("mysql://host/ppc?read_default_file=/none/my.cnf", "option read_default_file: there is no file /none/my.cnf"),
    ],
)
def test_a_place_that_is_none_or_two_is_refused(url: str, message: str) -> None:
    with pytest.raises(ValueError, match=message.replace("?", r"\?")):
        parse_url(url, base=ROOT)


def test_an_option_file_gives_the_login_that_the_url_leaves_out(tmp_path: Path) -> None:
    ca = written(tmp_path / "ca.pem", "")
    file = written(
        tmp_path / "my.cnf",
        f"[client]\nuser = chatsync\npassword = hunter2\nhost = other\nport = 3307\nssl-ca = {ca}\n",
    )

    url = parse_url("mysql://host/ppc?read_default_file=my.cnf", base=tmp_path)
    named = parse_url("mysql://me:mine@host:3308/ppc?read_default_file=my.cnf", base=tmp_path)
    placeless = parse_url("mysql:///ppc?read_default_file=my.cnf", base=tmp_path)

    assert (str(url), login(url), url.options) == ("host:3306/ppc", ("chatsync", "hunter2"), {"ssl_ca": str(ca)})
    assert (url.option_file, url.password_is_literal) == (file, False)
    assert (str(named), login(named), named.option_file) == ("host:3308/ppc", ("me", "mine"), None)
    assert (str(placeless), login(placeless)) == ("other:3307/ppc", ("chatsync", "hunter2"))


def test_an_option_file_may_lead_to_a_socket(tmp_path: Path) -> None:
    written(tmp_path / "my.cnf", "[client]\nsocket = /run/mysqld/mysqld.sock\nssl-ca = /none.pem\n")

    url = parse_url("mysql:///ppc?read_default_file=my.cnf", base=tmp_path)

    assert (str(url), url.options) == ("/run/mysqld/mysqld.sock/ppc", {})


def test_the_option_file_of_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    written(tmp_path / ".my.cnf", "[client]\nuser=chatsync\n")

    assert login(parse_url("mysql://host/ppc?read_default_file=~/.my.cnf", base=ROOT)) == ("chatsync", None)


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("password=plain", "plain"),
        ("password = spaced out ", "spaced out"),
        ("password = short # a comment", "short"),
        ('password="a#b c "', "a#b c "),
        (r"password='it\'s'  # quoted", "it's"),
        (r"password=a\sb\\c\td", "a b\\c\td"),
        (r"password=C:\Users", r"C:\Users"),
        ("password=", ""),
        ("password", None),
        ("# password=no", None),
        ("; password=no", None),
    ],
)
def test_a_line_of_an_option_file_means_what_it_means_to_mysql(tmp_path: Path, line: str, value: str | None) -> None:
    text = f"[mysqld]\npassword=server\n[client]\n{line}\n[mysqldump]\npassword=dump\n"

    found = read_option_file(written(tmp_path / "my.cnf", text)).get("password")

    assert found == value


def test_the_last_of_the_clients_groups_wins_and_dashes_are_underscores(tmp_path: Path) -> None:
    text = "[client]\nuser=one\nssl-ca=/ca\n[client-mariadb]\nuser=two\n"

    assert read_option_file(written(tmp_path / "my.cnf", text)) == {"user": "two", "ssl_ca": "/ca"}


def test_an_option_file_that_cannot_be_read_is_named_and_not_shown(tmp_path: Path) -> None:
    (tmp_path / "my.cnf").write_bytes(b"[client]\npassword=hunter\xff\n")

    with pytest.raises(ValueError, match=r"my\.cnf: expected text in UTF-8$"):
        parse_url("mysql://host/ppc?read_default_file=my.cnf", base=tmp_path)


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_a_password_in_a_file_of_its_own(tmp_path: Path, end: str) -> None:
    file = written(tmp_path / "ppc_password", f"p@s s/w:d%41?{end}")

    url = parse_url(f"mysql://user:${{file:{file}}}@host/ppc", base=ROOT)

    assert (login(url), url.password_is_literal) == (("user", "p@s s/w:d%41?"), False)


def test_a_secret_file_of_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    written(tmp_path / "secret", "hunter2\n")

    assert fill_in("${file:~/secret}") == "hunter2"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("/none/secret", r"\$\{file:/none/secret\}: cannot read the file: No such file or directory"),
        ("/dev", r"\$\{file:/dev\}: cannot read the file: Is a directory"),
        ("secret", r"\$\{file:secret\}: expected an absolute path"),
        ("~nobody-here/secret", r"\$\{file:~nobody-here/secret\}: there is no such home directory"),
        ("/dev/zero", r"\$\{file:/dev/zero\}: the file is longer than 65536 bytes"),
    ],
)
def test_a_secret_file_that_cannot_be_taken_is_named(name: str, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}$"):
        parse_url(f"mysql://user:${{file:{name}}}@host/ppc", base=ROOT)


def test_a_secret_file_that_is_no_text_is_not_shown(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"hunter\xff")

    with pytest.raises(ValueError, match=r"secret\}: expected text in UTF-8$"):
        fill_in(f"${{file:{tmp_path / 'secret'}}}")
