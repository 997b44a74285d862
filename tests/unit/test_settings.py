"""Every key of the configuration says what it is for: the reference is generated from it."""

from __future__ import annotations

import pytest

from chatsync.config import reference


@pytest.mark.parametrize("name", reference.sections())
def test_every_key_has_a_description(name: str) -> None:
    described = {key: description for key, _, description in reference.keys(reference.sections()[name])}

    assert [key for key, text in described.items() if not text] == []
    assert [text for text in described.values() if text.endswith(".") or "|" in text or "\n" in text] == []
