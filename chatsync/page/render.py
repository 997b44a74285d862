"""The HTML of the page: one file that loads nothing, and runs only the script that it names by its hash."""

import base64
import csv
import dataclasses
import hashlib
import io
from importlib import resources
from typing import Any

import jinja2

from chatsync.core import harmless
from chatsync.page.facts import Page


def render(page: Page) -> str:
    """Return the page as HTML."""
    loader = jinja2.PackageLoader("chatsync.page")
    environment = jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    style, script = (_part(name) for name in ("page.css", "page.js"))
    template = environment.get_template("page.html")
    return template.render(
        page=page,
        data=_data(page),
        csv=_csv(page),
        language=page.language,
        say=page.language.say,
        style=style,
        script=script,
        policy=_policy(style, script),
    )


def _data(page: Page) -> dict[str, Any]:
    """Return the data for the script, as JSON beside it: none of its texts is ever treated as markup."""
    return {
        "answers": [dataclasses.asdict(answer) for answer in page.answers],
        "otherwise": page.otherwise,
        "nonsense": page.language.say("lookup.nonsense"),
        "copied": page.language.say("rows.copied"),
        "notCopied": page.language.say("rows.not_copied"),
    }


def _csv(page: Page) -> str:
    """Return the rows to repair as CSV in which a spreadsheet finds no formula."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(("row", "value", "reason"))
    writer.writerows((row.number, harmless(row.value), row.reason) for row in page.rows)
    return out.getvalue()


def _part(name: str) -> str:
    return (resources.files("chatsync.page") / "templates" / name).read_text(encoding="utf-8").strip()


def _policy(style: str, script: str) -> str:
    """Return what a browser may do with the page: use this style, run this script, and load nothing."""
    return "; ".join(
        [
            "default-src 'none'",
            f"style-src '{_hash(style)}'",
            f"script-src '{_hash(script)}'",
            "img-src data:",
            "base-uri 'none'",
            "form-action 'none'",
        ]
    )


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
