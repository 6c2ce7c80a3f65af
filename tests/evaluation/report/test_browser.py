"""The page in a browser: what it shows under a setting is what ``evaluate`` gives at it."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import spacy
from thinc.api import Config

from clinical_ner.data.formats.docbin import write_docbin
from clinical_ner.evaluation.evaluate import evaluate
from clinical_ner.evaluation.report.make_report import make_report

from .examples import HOSTILE, ID, NOTE, make_gold, write_example

playwright = pytest.importorskip("playwright.sync_api", reason="a browser is driven by playwright")
axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-core is missing")
pytest.importorskip("altair", reason="the extra report is missing")
NAMES = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM = next(filter(None, map(shutil.which, NAMES)), None)

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is missing (apt-get install chromium)"),
]


@dataclass
class Opened:
    """A page, with what it asked for beside itself, and what went wrong in it."""

    page: Any
    requests: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return write_example(tmp_path_factory.mktemp("example"))


@pytest.fixture(scope="module")
def report(example: tuple[Path, Path]) -> Path:
    """The page of the example, with its notes and a card."""
    output = example[0].with_name("report.html")
    card = "<h1>The model</h1><p>Its use.</p>"
    make_report(*example, output, show_text=True, card=card, resamples=20)
    return output


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as driver:
        # As root, in a container, chromium has no sandbox.
        started = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture
def visit(browser: Any) -> Iterator[Callable[..., Any]]:
    """Open a page; at the end nothing may have been asked for, and nothing have gone wrong."""
    contexts, opened = [], []

    def open_page(path: Path, **settings: Any) -> Any:
        context = browser.new_context(**settings)
        contexts.append(context)
        of = Opened(context.new_page())
        opened.append(of)

        def answer(route: Any) -> None:
            if route.request.url == path.as_uri():
                route.continue_()
            else:
                of.requests.append(route.request.url)
                route.abort()

        of.page.route("**/*", answer)
        of.page.on("pageerror", lambda error: of.faults.append(str(error)))
        of.page.on("dialog", lambda dialog: of.faults.append(dialog.message))
        of.page.on(
            "console",
            lambda said: of.faults.append(said.text) if said.type in ("error", "warning") else None,
        )
        of.page.goto(path.as_uri())
        of.page.wait_for_selector("body[data-ready]")
        return of.page

    yield open_page
    for context in contexts:
        context.close()
    assert [of.requests for of in opened] == [[]] * len(opened)
    assert [of.faults for of in opened] == [[]] * len(opened)


def shown(page: Any) -> dict[str, dict[str, float | None]]:
    """The scores that the page shows, of all types and by type."""

    def of(row: Any) -> dict[str, float | None]:
        cells = {cell.get_attribute("data-score"): cell for cell in row.locator("td").all()}
        values = {name: cell.get_attribute("data-value") for name, cell in cells.items() if name}
        return {name: None if of == "null" else float(of) for name, of in values.items()}

    types = {
        row.locator("th").inner_text(): of(row) for row in page.locator("#types tbody tr").all()
    }
    return {"": of(page.locator("#totals tbody tr")), **types}


def scored(metrics: dict[str, Any]) -> dict[str, dict[str, float | None]]:
    """The same of what ``evaluate`` gives."""
    per_type = metrics["ents_per_type"]
    keys = ("p", "r", "f", "predicted")
    total = {key: metrics[f"ents_{key}"] for key in keys[:3]} | {"macro": metrics["ents_macro_f"]}
    total |= {
        "predicted": sum(of["predicted"] for of in per_type.values()),
        "support": sum(of["support"] for of in per_type.values()),
    }
    total["right"] = sum(round(of["p"] * of["predicted"]) for of in per_type.values())
    return {"": total, **{label: {k: of[k] for k in keys} for label, of in per_type.items()}}


def check_scores(page: Any, metrics: dict[str, Any]) -> None:
    expected, found = scored(metrics), shown(page)
    # A type that only other settings predict has a row, too.
    assert not any(found[name]["predicted"] for name in set(found) - set(expected))
    for name, scores in expected.items():
        for key, value in scores.items():
            if value is None:
                assert found[name][key] is None
            else:
                assert found[name][key] == pytest.approx(value, abs=1e-6), (name, key)


def with_setting(model: Path, snippet: str, output: Path) -> Path:
    """The model with a setting that the page gave."""
    (setting,) = Config().from_str(f"[components]\n\n{snippet}")["components"].items()
    nlp = spacy.load(model)
    component: Any = nlp.get_pipe(setting[0])
    for name, value in setting[1].items():
        assert hasattr(component, name)
        setattr(component, name, value)
    nlp.to_disk(output)
    return output


def press(page: Any, selector: str, *keys: str) -> None:
    page.locator(selector).focus()
    for key in keys:
        page.keyboard.press(key)


def test_it_opens_with_the_scores_of_evaluate(
    visit: Callable[..., Any], report: Path, example: tuple[Path, Path]
) -> None:
    page = visit(report)
    check_scores(page, evaluate(*example, resamples=5))
    assert page.locator("figure svg").count() == page.locator("figure").count() >= 4


def test_the_prior_strength_decides_again_as_evaluate_does(
    visit: Callable[..., Any], report: Path, example: tuple[Path, Path], tmp_path: Path
) -> None:
    page = visit(report)
    before = shown(page)
    bars = page.evaluate("views.types.data('types').map(({value}) => value)")
    for key, strength in (("Home", 0.0), ("End", 1.0)):
        press(page, "#strength", key)
        snippet = page.locator("#setting").inner_text()
        model = with_setting(example[0], snippet, tmp_path / key)
        assert spacy.load(model).get_pipe("ner").prior_strength == strength
        assert spacy.load(model).get_pipe("ner").thresholds == {"Sign": 0.2}
        check_scores(page, evaluate(model, example[1], resamples=5))
        assert shown(page)[""] != before[""]
        redrawn = page.evaluate("views.types.data('types').map(({value}) => value)")
        assert redrawn != bars
    page.get_by_role("button", name="As the pipeline is").click()
    assert shown(page) == before


def test_thresholds_decide_again_as_evaluate_does(
    visit: Callable[..., Any], report: Path, example: tuple[Path, Path], tmp_path: Path
) -> None:
    page = visit(report)
    before = shown(page)
    for number, label in enumerate(("Sign", HOSTILE)):
        slider = page.get_by_role("slider", name=f"{label} Threshold", exact=True)
        slider.fill("0.45")
        model = with_setting(
            example[0], page.locator("#setting").inner_text(), tmp_path / str(number)
        )
        assert spacy.load(model).get_pipe("ner").thresholds[label] == 0.45
        check_scores(page, evaluate(model, example[1], resamples=5))
    assert shown(page)[""] != before[""]
    press(page, "#all", "End")
    assert shown(page)[""]["predicted"] == 0 and shown(page)["Sign"]["r"] == 0


def test_a_pipeline_that_cannot_be_decided_again_says_so(
    visit: Callable[..., Any], tmp_path: Path
) -> None:
    nlp = spacy.blank("en")
    ruler: Any = nlp.add_pipe("entity_ruler")
    ruler.add_patterns([{"label": "Sign", "pattern": "fever"}])
    nlp.to_disk(tmp_path / "model")
    write_docbin(make_gold(nlp), tmp_path / "gold.spacy")
    data = tmp_path / "model", tmp_path / "gold.spacy"
    make_report(*data, tmp_path / "report.html", resamples=5)
    page = visit(tmp_path / "report.html")
    check_scores(page, evaluate(*data, resamples=5))
    assert "It cannot be made again in this page" in page.locator("main").inner_text()
    assert page.get_by_role("slider").count() == 0


def test_the_keyboard_alone_reaches_every_control(visit: Callable[..., Any], report: Path) -> None:
    page = visit(report)
    controls = page.locator("input, button, select, summary, [tabindex='0']")
    page.evaluate("document.activeElement.blur()")
    reached = set()
    for _ in range(controls.count() + 1):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.outerHTML"))
    there = controls.evaluate_all("all => all.map(of => of.outerHTML)")
    assert [control for control in there if control not in reached] == []
    press(page, "#notes summary >> nth=1", "Enter")
    assert page.locator("#notes details").nth(1).get_attribute("open") is not None
    page.get_by_role("button", name="Copy").press("Enter")
    page.wait_for_function("document.getElementById('copied').textContent")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_serious_fault(visit: Callable[..., Any], report: Path, scheme: str) -> None:
    page = visit(report, color_scheme=scheme)
    page.locator("#always").check()
    found = axe.Axe().run(page).response["violations"]
    assert [of["id"] for of in found if of["impact"] in ("serious", "critical")] == []


def test_it_prints_to_two_pages(visit: Callable[..., Any], report: Path) -> None:
    page = visit(report)
    # As many scores as a model with overlaps has, and more types than a page holds.
    grow = """([body, number]) => { body = document.querySelector(body);
        while (body.rows.length < number) body.append(body.rows[0].cloneNode(true)) }"""
    page.evaluate(grow, ["section.scores tbody", 23])
    page.evaluate(grow, ["#types tbody", 90])
    printed = page.pdf(prefer_css_page_size=True)
    assert len(re.findall(rb"/Type\s*/Page\b", printed)) == 2


def test_notes_show_gold_against_predicted_in_their_places(
    visit: Callable[..., Any], report: Path
) -> None:
    page = visit(report)
    page.locator("#order").select_option("file")
    note = page.locator("#notes details").nth(4)
    note.locator("summary").click()
    assert note.locator("summary").inner_text().startswith(f"{ID}4: ")
    # Without the names behind the marks it is the note as it was.
    text = note.locator("div").evaluate(
        "of => [...of.childNodes].filter(of => of.tagName !== 'SMALL')"
        ".map(of => of.textContent).join('')"
    )
    assert text == NOTE and page.locator("img").count() == 0
    marks = {mark.inner_text(): mark.get_attribute("title") for mark in note.locator("mark").all()}
    assert re.search(r"^[✓○] Sign 0\.\d\d", marks["fever"])
    page.evaluate("setting.thresholds.fill(1); show()")
    marks = {mark.inner_text(): mark.get_attribute("class") for mark in note.locator("mark").all()}
    assert marks == {"fever": "missed"}
    assert "0 right, 0 wrong, 1 missed" in note.locator("summary").inner_text()
