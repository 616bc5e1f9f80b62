"""The pages as people use them: in Chromium, by clicking, wide and narrow, light and dark.

Each page's main task is done as its user would do it; meanwhile nothing may be said on the console, nothing may be
asked of another machine, and axe-core may find no barrier.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from morning import MEAN, SCRIPT, Morning

AXE = Path(__file__).with_name("axe.min.js")  # axe-core 4.14.1 as its npm package ships it, MPL-2.0 (axe.LICENSE)
AXE_SHA256 = "29348999450cdf2849a8e70b7912fc2da85a849da39c0d0d5394f51d4a9ed95c"
WIDTHS = (1280, 390)
TRIAL_MS = 120_000  # a model is loaded in a process of its own before it serves


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """Return a headless Chromium; skip where there is none, fail where CI must have it."""
    program = shutil.which("chromium")
    if program is None:
        reason = "Chromium is not installed (apt-get install chromium), so what the pages do in it goes unchecked."
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(params=WIDTHS, ids=lambda width: f"{width}-pixels-wide")
def page(chromium: Any, morning: Morning, request: pytest.FixtureRequest) -> Iterator[Any]:
    """Return a page of somebody who has signed in; at the end nothing may have gone wrong on it."""
    with chromium.new_context(viewport={"width": request.param, "height": 900}, base_url=morning.url) as context:
        wrong: list[str] = []
        opened = context.new_page()
        opened.set_default_timeout(20_000)
        opened.on("console", lambda said: wrong.append(said.text) if said.type in {"error", "warning"} else None)
        opened.on("pageerror", lambda error: wrong.append(str(error)))
        opened.on("dialog", lambda dialog: (wrong.append(f"a dialog: {dialog.message}"), dialog.dismiss()))
        opened.on("request", lambda sent: None if sent.url.startswith(morning.url) else wrong.append(sent.url))
        sign_in(opened, morning.token)
        yield opened
        assert wrong == []


def sign_in(page: Any, token: str) -> None:
    page.goto("/")
    page.get_by_label("Your token").fill(token)
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("heading", name="My leads").wait_for()


def barriers(page: Any) -> list[str]:
    """Return what axe-core finds, by rule and element."""
    page.evaluate(AXE.read_text("utf-8"))  # not as a script of the page, which its policy forbids
    found = json.loads(page.evaluate("axe.run().then(found => JSON.stringify(found.violations))"))
    return [f"{one['id']}: {node['target']}" for one in found for node in one["nodes"]]


def test_the_judge_of_barriers_is_as_its_makers_published_it() -> None:
    assert hashlib.sha256(AXE.read_bytes()).hexdigest() == AXE_SHA256


def test_a_salesperson_finds_a_lead_reads_why_and_rejects_it(page: Any) -> None:
    assert barriers(page) == []
    page.get_by_role("searchbox").fill(MEAN)
    page.get_by_role("status").filter(has_text="1 lead").wait_for()
    page.get_by_role("link", name=SCRIPT).click()
    page.get_by_role("heading", name=SCRIPT).wait_for()
    page.get_by_role("heading", name="What raises it").wait_for()
    assert barriers(page) == []  # also while the rest is on its way
    page.locator("#moves").wait_for()
    assert page.title() == f"{SCRIPT} · Touchstone"
    assert barriers(page) == []
    page.get_by_label("Or reject, since").select_option("no budget")
    page.get_by_role("button", name="Reject").click()
    assert page.get_by_role("status").first.inner_text() == "Noted: you have rejected this lead."


def test_a_salesperson_sorts_pages_and_saves_a_view(page: Any) -> None:
    page.get_by_role("link", name="Next →").click()
    page.get_by_text("26 to 50 of").wait_for()
    page.get_by_label("Grade").select_option("A")
    page.wait_for_url("**/my-leads?*grade=A*")
    page.get_by_text("Save this view").click()
    page.get_by_label("Name").fill("The best")
    page.get_by_role("button", name="Save").click()
    page.goto("/my-leads")
    page.get_by_role("link", name="The best").click()
    assert "grade=A" in page.url
    assert {tag.inner_text() for tag in page.locator(".leads .grade .tag").all()} <= {"A"}
    page.get_by_role("button", name="Forget the view The best").click()
    page.get_by_role("link", name="The best").wait_for(state="detached")


def test_a_marketer_compares_models_and_filters_a_period(page: Any) -> None:
    opened(page, "Channels")
    page.get_by_label("Attribution model").select_option("first")
    page.get_by_role("heading", name="What each channel earned and cost, by first").wait_for()
    page.get_by_label("Period").select_option("all")
    page.get_by_text("All time ·").wait_for()
    page.get_by_text("Journeys as a flow, as a table").click()
    page.get_by_role("columnheader", name="step").wait_for()
    assert barriers(page) == []


def test_both_see_what_was_passed_on_and_why_not(page: Any) -> None:
    opened(page, "Alignment")
    page.get_by_label("Period").select_option("all")
    page.get_by_text("All time ·").wait_for()
    page.get_by_role("rowheader", name="no budget").wait_for()
    page.get_by_text("Week by week, as a table").click()
    assert barriers(page) == []


def test_an_engineer_reads_what_was_promised_and_what_came_true(page: Any) -> None:
    opened(page, "Model")
    assert page.locator("svg.reliability").count() == 2
    page.get_by_text("Promised against realised, held back, as a table").click()
    page.get_by_role("rowheader", name="top 10 %").wait_for()
    assert barriers(page) == []


def test_a_lead_s_page_has_all_its_bars_reasons_and_days_in_sight(page: Any) -> None:
    page.goto(f"/my-leads/{MEAN}")
    page.locator("#moves tbody tr").first.wait_for()
    widths = {kind: page.locator(kind).first.bounding_box()["width"] for kind in (".hero .interval", "#moves svg")}
    assert widths[".hero .interval"] > 200
    assert widths["#moves svg"] > 60
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    causes = page.locator(".twin tbody tr", has_text="No single fact moved it much.").first
    told = causes.get_by_text("No single fact moved it much.").filter(visible=True).bounding_box()
    assert told["x"] + told["width"] <= page.viewport_size["width"]
    ends = [label.bounding_box() for label in page.locator(".scroll .chart text").all()]
    chart = page.locator(".scroll .chart").bounding_box()
    assert max(end["x"] + end["width"] for end in ends) <= chart["x"] + chart["width"]


@pytest.mark.parametrize("page", [390], indirect=True, ids=["390-pixels-wide"])
def test_an_engineer_rolls_back_and_promotes_again(page: Any) -> None:
    opened(page, "Model")
    page.set_default_timeout(TRIAL_MS)
    serves = page.locator("tr", has=page.get_by_text("champion", exact=True)).locator("th").inner_text().split()[0]
    page.get_by_role("button", name="Roll back to").click()
    page.get_by_role("status").filter(has_text="champion again").wait_for()
    page.get_by_role("button", name=f"Promote {serves}").click()
    page.get_by_role("status").filter(has_text=f"{serves} is champion now.").wait_for()


@pytest.mark.parametrize(
    "path", ["/my-leads", f"/my-leads/{MEAN}", "/channels", "/alignment", "/goals", "/models", "/monitor"]
)
def test_the_dark_has_no_barrier_either(page: Any, path: str) -> None:
    page.emulate_media(color_scheme="dark")
    page.goto(path)
    page.wait_for_load_state("networkidle")
    assert barriers(page) == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_the_keyboard_alone_opens_a_lead(page: Any) -> None:
    page.goto("/my-leads")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.keyboard.press("Enter")
    first = page.locator(".leads tbody a").first
    for _ in range(40):
        page.keyboard.press("Tab")
        if first.evaluate("link => link === document.activeElement"):
            break
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="What happened").wait_for()


def test_the_sign_in_page_has_no_barrier(page: Any) -> None:
    page.get_by_role("button", name="Sign out").click()
    page.get_by_role("heading", name="Sign in").wait_for()
    assert barriers(page) == []


def opened(page: Any, name: str) -> None:
    """Open a page by its link, once the book is made."""
    page.get_by_role("navigation", name="Pages").get_by_role("link", name=name).click()
    page.get_by_role("heading", name=name, exact=True).wait_for()
