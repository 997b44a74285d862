"""What SHOW GRANTS says, as MySQL and MariaDB print it."""

from __future__ import annotations

import pytest

from chatsync.diagnostics.grants import Need, parse_grants

FEATURES = Need(privilege="SELECT", database="ppc_dict", table="features", columns=frozenset({"feature_id", "name"}))
INSERT = Need(privilege="INSERT", database="ppc_dict", table="features", columns=frozenset({"name"}))

JUST_RIGHT = [
    # MariaDB 10.11
    ["GRANT USAGE ON *.* TO `chatsync`@`%` IDENTIFIED BY PASSWORD '*2470C0C06DEE42FD1618BB99005ADCA2EC9D1E19'",
     "GRANT SELECT, INSERT ON `ppc_dict`.`features` TO `chatsync`@`%`"],
    # MySQL 5.7
    ["GRANT USAGE ON *.* TO 'chatsync'@'%'", "GRANT SELECT, INSERT ON `ppc_dict`.`features` TO 'chatsync'@'%'"],
    # MySQL 8.4, the privileges by a role
    ["GRANT USAGE ON *.* TO `chatsync`@`%`", "GRANT `chat`@`%` TO `chatsync`@`%`",
     "GRANT SELECT, INSERT ON `ppc_dict`.`features` TO `chatsync`@`%`"],
    # MariaDB, the same
    ["GRANT `chat` TO `chatsync`@`%`", "GRANT USAGE ON *.* TO `chatsync`@`%`", "GRANT USAGE ON *.* TO `chat`",
     "GRANT SELECT, INSERT ON `ppc_dict`.`features` TO `chat`", "SET DEFAULT ROLE `chat` FOR `chatsync`@`%`"],
    # sql_mode ANSI_QUOTES, and no more columns than are used
    ['GRANT SELECT ("name", "feature_id"), INSERT ("name") ON "ppc_dict"."features" TO "chatsync"@"%"'],
    # lower_case_table_names = 0 and a name typed otherwise
    ["GRANT SELECT, INSERT ON `PPC_DICT`.`FEATURES` TO `chatsync`@`%`"],
]  # fmt: skip

WIDER = [
    (["GRANT ALL PRIVILEGES ON *.* TO `root`@`localhost` WITH GRANT OPTION",
      "GRANT PROXY ON ''@'' TO 'root'@'localhost' WITH GRANT OPTION"],
     ["ALL PRIVILEGES ON *.*", "GRANT OPTION ON *.*"]),
    (["GRANT ALL ON `ppc_dict`.* TO `a`@`%`"], ["ALL PRIVILEGES ON ppc_dict.*"]),
    (["GRANT SELECT, INSERT ON `ppc\\_dict`.* TO 'a'@'%'"], ["SELECT ON ppc\\_dict.*", "INSERT ON ppc\\_dict.*"]),
    (["GRANT SELECT, INSERT ON `ppc%`.* TO 'a'@'%'"], ["SELECT ON ppc%.*", "INSERT ON ppc%.*"]),
    (["GRANT SELECT, INSERT, DELETE ON `ppc_dict`.`features` TO 'a'@'%'"], ["DELETE ON ppc_dict.features"]),
    (["GRANT SELECT, INSERT ON `ppc_dict`.`features` TO 'a'@'%'", "GRANT SELECT ON `ppc_dict`.`other` TO 'a'@'%'"],
     ["SELECT ON ppc_dict.other"]),
    (["GRANT SELECT, INSERT ON `ppc_dict`.`features` TO 'a'@'%'",
      "GRANT EXECUTE ON PROCEDURE `ppc_dict`.`clean` TO `a`@`%`", "GRANT BACKUP_ADMIN,CREATE USER ON *.* TO `a`@`%`"],
     ["EXECUTE ON ppc_dict.clean", "BACKUP_ADMIN ON *.*", "CREATE USER ON *.*"]),
]  # fmt: skip

SHORT = [
    ([], [FEATURES, INSERT]),
    (["GRANT USAGE ON *.* TO `chatsync`@`%`", "GRANT `chat`@`%` TO `chatsync`@`%`"], [FEATURES, INSERT]),
    (["GRANT SELECT ON `ppc_dict`.`features` TO `a`@`%`"], [INSERT]),
    (["GRANT SELECT (`name`), INSERT ON `ppc_dict`.`features` TO `a`@`%`"], [FEATURES]),
    # a wildcard counts at the level of databases only, and `\_` is none
    (["GRANT SELECT, INSERT ON `ppc%`.`features` TO `a`@`%`"], [FEATURES, INSERT]),
    (["GRANT SELECT, INSERT ON `ppc\\_%dic`.* TO `a`@`%`"], [FEATURES, INSERT]),
    (["GRANT SELECT, INSERT ON `ppcxdict`.* TO `a`@`%`"], [FEATURES, INSERT]),
    (["GRANT SELECT ON *.* TO `a`@`%`", "GRANT EXECUTE ON FUNCTION `ppc_dict`.`features` TO `a`@`%`"], [INSERT]),
    # partial revokes of MySQL 8
    (["GRANT SELECT, INSERT ON *.* TO `a`@`%`", "REVOKE INSERT ON `ppc_dict`.* FROM `a`@`%`"], [INSERT]),
]  # fmt: skip


@pytest.mark.parametrize("lines", JUST_RIGHT)
def test_what_is_needed_and_no_more(lines: list[str]) -> None:
    grants = parse_grants(lines)
    assert grants.missing([FEATURES, INSERT]) == []
    assert grants.surplus([FEATURES, INSERT]) == []


@pytest.mark.parametrize(("lines", "surplus"), WIDER)
def test_more_than_is_needed(lines: list[str], surplus: list[str]) -> None:
    grants = parse_grants(lines)
    assert grants.missing([FEATURES, INSERT]) == []
    assert [str(grant) for grant in grants.surplus([FEATURES, INSERT])] == surplus


@pytest.mark.parametrize(("lines", "missing"), SHORT)
def test_less_than_is_needed(lines: list[str], missing: list[Need]) -> None:
    assert parse_grants(lines).missing([FEATURES, INSERT]) == missing


def test_a_need_reads_like_a_statement() -> None:
    assert str(INSERT) == "INSERT ON ppc_dict.features"


def test_what_every_account_may_do_is_no_surplus_of_this_one() -> None:
    """MariaDB from 10.11 on: it can't be revoked from the account, but it does give what is needed."""
    grants = parse_grants(["GRANT SELECT, DELETE ON `ppc_dict`.* TO PUBLIC", "GRANT DROP ON `x`.* TO `chatsync`@`%`"])

    assert grants.missing([FEATURES]) == []
    assert [str(grant) for grant in grants.surplus([FEATURES])] == ["DROP ON x.*"]
