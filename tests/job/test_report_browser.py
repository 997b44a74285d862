"""The page in a real browser, without a network: what it loads, answers and shows, and for whom it can be read."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import sync_playwright

from tests.harness.page_world import SCRIPT, build

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Browser, BrowserContext, Page

pytestmark = pytest.mark.programs

# Without these, Debian's chromium asks the network for other things than pages; and root may not use its sandbox.
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
DESKTOP, PHONE = {"width": 1100, "height": 800}, {"width": 380, "height": 800}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The page of one job in each language, with all clients, one with those that runs changed, and one without any."""
    folder = tmp_path_factory.mktemp("browser")
    job = build(folder, days=3, clients=60)
    pages = {"en": ("all", "en"), "ru": ("all", "ru"), "changed": ("changed", "en"), "none": ("none", "en")}
    for name, (clients, language) in pages.items():
        options = ("-o", str(folder / f"{name}.html"), "--clients", clients, "--language", language)
        assert job.run("report", *options).code == 0
    return {name: folder / f"{name}.html" for name in pages}


@pytest.fixture
def context(browser: Browser, request: pytest.FixtureRequest) -> Iterator[BrowserContext]:
    context = browser.new_context(offline=True, **getattr(request, "param", {"viewport": DESKTOP}))
    yield context
    context.close()


def opened(context: BrowserContext, file: Path) -> Page:
    page = context.new_page()
    page.goto(file.as_uri())
    return page


def test_it_asks_for_nothing_and_runs_nothing_of_a_cell(context: BrowserContext, files: dict[str, Path]) -> None:
    page = context.new_page()
    requests: list[str] = []
    told: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    page.on("dialog", lambda dialog: told.append(dialog.message))
    page.on("console", lambda message: told.append(message.text))
    page.on("pageerror", lambda error: told.append(str(error)))

    page.goto(files["en"].as_uri())
    page.wait_for_load_state("networkidle")

    assert requests == [files["en"].as_uri()]
    assert told == []
    assert page.get_by_text(SCRIPT, exact=True).count() == 1


ANSWERS = {
    "1003": "The support chat has been off for client 1003 since 20",
    " 1 003 ": "The support chat has been off for client 1003 since 20",
    "7": "Client 7 is not on the exclusion list, and the chat is not turned off.",
    "9000002": "Client 9000002 is on the exclusion list, but the databases do not know this client: please check",
    "8811606": "Client 8811606: row ",
    "n/a": "This is not a client number.",
    "-5": "This is not a client number.",
    "0": "This is not a client number.",
    "": "This is not a client number.",
    "99999999999999999999": "This is not a client number.",
    "<img src=x onerror=alert(1)>": "This is not a client number.",
}


def test_the_look_up(context: BrowserContext, files: dict[str, Path]) -> None:
    page = opened(context, files["en"])

    for typed, answer in ANSWERS.items():
        page.get_by_label("Client number").fill(typed)
        page.keyboard.press("Enter")
        assert str(page.get_by_role("status").first.text_content()).startswith(answer), typed


def test_the_number_stands_in_the_command_for_the_operators_as_well(
    context: BrowserContext, files: dict[str, Path]
) -> None:
    page = opened(context, files["changed"])

    page.get_by_label("Client number").fill("7")
    page.keyboard.press("Enter")

    answer = "This page has no record of client 7. The operators can find out more: `chatsync explain 7`."
    assert page.get_by_role("status").first.text_content() == answer


def test_rows_are_copied_as_csv(context: BrowserContext, files: dict[str, Path]) -> None:
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    page = opened(context, files["ru"])

    page.get_by_role("button", name="Скопировать как CSV").click()

    page.get_by_text("Скопировано.").wait_for()
    copied = page.evaluate("navigator.clipboard.readText()").splitlines()
    assert copied[0] == "row,value,reason"
    assert copied[2].endswith(f",{SCRIPT},не целое число")


def test_rows_are_copied_where_the_browser_has_no_clipboard(context: BrowserContext, files: dict[str, Path]) -> None:
    """As on a page that comes over plain http."""
    context.add_init_script("Object.defineProperty(navigator, 'clipboard', {value: undefined})")
    page = opened(context, files["en"])

    page.get_by_role("button", name="Copy as CSV").click()

    page.get_by_text("Copied.").wait_for()
    page.get_by_label("Client number").focus()
    page.keyboard.press("Control+V")
    assert page.get_by_label("Client number").input_value().startswith("row,value,reason")


LOOKS = {
    "desktop-light": ({"viewport": DESKTOP, "color_scheme": "light"}, "en"),
    "desktop-dark": ({"viewport": DESKTOP, "color_scheme": "dark"}, "none"),
    "phone-light": ({"viewport": PHONE, "color_scheme": "light"}, "ru"),
    "phone-dark": ({"viewport": PHONE, "color_scheme": "dark"}, "en"),
}


@pytest.mark.parametrize(("context", "name"), LOOKS.values(), indirect=["context"], ids=LOOKS)
def test_it_can_be_read_by_all(context: BrowserContext, files: dict[str, Path], name: str) -> None:
    page = opened(context, files[name])
    if name != "none":
        page.locator("#client").fill("1003")
        page.keyboard.press("Enter")

    results = Axe().run(page)

    assert results.violations_count == 0, results.generate_report()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert overlaps(page) == []
    assert broken_words(page) == []


def test_light_and_dark_differ(browser: Browser, files: dict[str, Path]) -> None:
    colours = []
    for scheme in ("light", "dark"):
        context = browser.new_context(offline=True, color_scheme=scheme)
        colours.append(opened(context, files["en"]).evaluate("getComputedStyle(document.body).backgroundColor"))
        context.close()

    assert len(set(colours)) == 2


def test_on_paper_nothing_is_lost_but_the_look_up(context: BrowserContext, files: dict[str, Path]) -> None:
    page = opened(context, files["en"])

    page.emulate_media(media="print")
    page.set_viewport_size({"width": 680, "height": 900})

    assert not page.locator("#form").is_visible()
    assert not page.get_by_role("button").first.is_visible()
    assert page.locator("h2:visible").count() == 5
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


@pytest.mark.parametrize("context", [{"java_script_enabled": False}], indirect=True)
def test_without_scripts_all_but_the_look_up_is_there(context: BrowserContext, files: dict[str, Path]) -> None:
    page = opened(context, files["en"])

    assert page.get_by_text("The look-up needs JavaScript").is_visible()
    assert not page.locator("#form").is_visible()
    assert page.locator("svg").count() == 2
    assert page.locator("table tbody tr").count() > 8


def test_the_keyboard_reaches_everything(context: BrowserContext, files: dict[str, Path]) -> None:
    page = opened(context, files["en"])
    reached = []
    for _ in range(5):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.id || document.activeElement.className || 'button'"))

    assert reached == ["client", "button", "table", "copy", "table"]


def overlaps(page: Page) -> list[Any]:
    """Return the pairs of labels of a chart that lie upon each other."""
    found = page.evaluate(
        """() => JSON.stringify([...document.querySelectorAll("svg")].flatMap(svg => {
            const labels = [...svg.querySelectorAll("text")].map(one =>
                [one.textContent, one.getBoundingClientRect()]);
            return labels.flatMap(([a, p], at) => labels.slice(at + 1).filter(([b, q]) =>
                p.left < q.right && q.left < p.right && p.top < q.bottom && q.top < p.bottom).map(([b]) => [a, b]));
        }))"""
    )
    pairs: list[Any] = json.loads(found)
    return pairs


def broken_words(page: Page) -> list[str]:
    """Return the words of headings and labels that don't fit on their line."""
    found: list[str] = page.evaluate(
        """() => [...document.querySelectorAll("h1, h2, dt, th, label, button")].flatMap(({firstChild: text}) =>
            [...(text?.data ?? "").matchAll(/\\S+/g)].filter(word => {
                const range = document.createRange();
                range.setStart(text, word.index);
                range.setEnd(text, word.index + word[0].length);
                return new Set([...range.getClientRects()].map(part => part.top)).size > 1;
            }).map(word => word[0]))"""
    )
    return found
