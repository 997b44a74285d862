"""The ways in which a secret may be written: each of them is hidden in everything that the program writes."""

import json
from urllib.parse import quote, quote_plus

from chatsync.redaction import MIN_LENGTH, escape_odd, hide, is_ordinary

# The replacements of html.escape, whose module takes longer to import than this one.
_IN_HTML = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#x27;"})


def keep_secret(text: str) -> bool:
    """Register a secret: from now on it is hidden in everything that the program writes.

    Returns False if it looks like ordinary text (a word, a number, or fewer than 4 characters): then it is
    hidden only in the place of a password, as in a URL.
    """
    if len(text) < MIN_LENGTH:
        return False
    hide(_spellings(text))
    return not is_ordinary(text)


def _spellings(secret: str) -> set[str]:
    """Return the ways to write a secret: in a URL, in JSON, in HTML, in a Python literal, on one line."""
    in_json = {json.dumps(secret, ensure_ascii=ascii_only)[1:-1] for ascii_only in (True, False)}
    in_url = {quote(secret, safe=""), quote(secret), quote_plus(secret)}
    on_one_line = " ".join(secret.split())
    forms = {secret, repr(secret)[1:-1], secret.translate(_IN_HTML), escape_odd(secret), on_one_line, *in_json, *in_url}
    return {form for form in forms if len(form) >= MIN_LENGTH}
