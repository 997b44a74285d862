"""What is written for others is there whole, or not at all."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

import pytest

from chatsync.errors import OutputError
from chatsync.files import write_whole

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def test_a_file_is_written_for_its_owner(tmp_path: Path) -> None:
    write_whole(tmp_path / "file", "content")

    assert (tmp_path / "file").read_bytes() == b"content"
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_file_for_others_to_read(tmp_path: Path) -> None:
    write_whole(tmp_path / "file", "content", mode=0o644)

    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o644


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"cannot write .*nowhere/file: No such file or directory"):
        write_whole(tmp_path / "nowhere" / "file", "content")


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_a_pipe_a_device_and_a_folder_are_left_alone(tmp_path: Path, make: Callable[[Path], None]) -> None:
    path = tmp_path / "there"
    make(path)
    before = path.stat()

    with pytest.raises(OutputError, match="is not a regular file"):
        write_whole(path, "content")

    assert (path.stat().st_mode, path.stat().st_ino) == (before.st_mode, before.st_ino)
    assert [found.name for found in tmp_path.iterdir()] == ["there"]
