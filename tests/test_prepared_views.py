"""The link that commands print, in headless Chromium: two runs' accuracies by expression, in table and charts."""

import importlib.util
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from mlflow.entities import Run

from docs import screenshots
from fer.commands import finetune
from fer.config.training import FinetuneConfig
from fer.evaluation.names import metric_key
from fer.expressions import EXPRESSIONS
from fer.tracking import links, views
from fer.tracking.names import ACCURACY_VIEW, CURVES_VIEW, REPORT_PAGE
from tests import stores
from tests.tracking.servers import tracking_server

pytestmark = [
    pytest.mark.project,
    pytest.mark.skipif(not screenshots.CHROMIUM, reason="there is no Chromium"),
    pytest.mark.skipif(importlib.util.find_spec("playwright") is None, reason="playwright is not installed"),
]

TINY = FinetuneConfig(
    dataset="raf", init="scratch", arch="resnet18", image_size=32, epochs=1, batch_size=32, evaluate_on="raf",
    registered_name="none", contamination="skip", device="cpu",
)  # fmt: skip
THEIRS = f"{views.TAG}of-anna"
"""A view that a person saved."""
CARD = "[data-testid=experiment-view-compare-runs-card]"


@dataclass
class Place:
    """A store with two trainings, and the server that shows it."""

    folder: Path
    runs: list[Run]
    link: str


@pytest.fixture(scope="module")
def place(empty_store: Path, prepared: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("views")
    stores.copy(empty_store, folder)
    with stores.connected(folder) as client:
        told = replace(TINY, data_root=str(prepared[0]), output=str(folder / "outputs"))
        results = [finetune.run(replace(told, seed=seed, lr=0.003 * (1 + seed))) for seed in (0, 1)]
        assert results[0].where == results[1].where
        runs = [client.get_run(result.run_id) for result in results]
    (link,) = re.findall(r"http\S+", results[0].where)
    with tracking_server(folder) as address:
        yield Place(folder, runs, link.replace("http://127.0.0.1:5000", address))


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with screenshots.browser() as opened:
        yield opened


def test_the_table_shows_the_seven_expressions_of_both_runs(place: Place, browser: Any, tmp_path: Path) -> None:
    # Wide, because the table draws only what is in sight.
    page = screenshots.open_page(browser, 3000, 900)
    page.goto(place.link)
    for run in place.runs:
        page.locator(f'[row-id="{run.info.run_id}"]').first.wait_for()
        for name in EXPRESSIONS:
            key = metric_key("raf", name)
            cell = page.locator(f'[row-id="{run.info.run_id}"] [col-id="metrics.`{key}`"]').first
            assert float(cell.inner_text()) == run.data.metrics[key], key
            head = page.locator(f'[role=columnheader][col-id="metrics.`{key}`"] span', has_text=key).last
            assert head.evaluate("span => span.scrollWidth <= span.clientWidth || !span.clientWidth"), (
                f"{key} is cut off"
            )
    best_first = sorted(place.runs, key=lambda run: -run.data.metrics["raf/accuracy"])
    shown = [page.locator(f'[row-id="{run.info.run_id}"]').first.get_attribute("row-index") for run in best_first]
    accuracies = {run.data.metrics["raf/accuracy"] for run in place.runs}
    assert len(accuracies) == 1 or [int(index) for index in shown] == [0, 1]
    page.screenshot(path=tmp_path / "table.png")
    page.close()


def test_charts_show_them_too_and_both_confusion_matrices(place: Place, browser: Any, tmp_path: Path) -> None:
    # High, because charts are drawn only where they are in sight.
    page = screenshots.open_page(browser, 1600, 2400)
    page.goto(f"{place.link}&compareRunsMode=CHART")
    for name in EXPRESSIONS:
        key = metric_key("raf", name)
        card = page.locator(CARD).filter(has=page.get_by_text(key, exact=True)).first
        card.locator(".bartext").nth(1).wait_for()
        shown = sorted(float(text) for text in card.locator(".bartext").all_text_contents())
        assert shown == pytest.approx(sorted(run.data.metrics[key] for run in place.runs), abs=0.006), key
    matrices = page.locator(CARD).filter(has=page.get_by_text("confusion/raf", exact=True)).first
    matrices.locator("img").nth(1).wait_for()
    widths = matrices.locator("img").evaluate_all("images => images.map(image => image.naturalWidth)")
    assert [width >= 256 for width in widths] == [True, True]
    page.screenshot(path=tmp_path / "charts.png")
    page.close()


def test_views_of_persons_survive_a_further_run(place: Place, prepared: Any) -> None:
    with stores.connected(place.folder) as client:
        before = client.get_experiment("0").tags
        assert {views.TAG + ACCURACY_VIEW, views.TAG + CURVES_VIEW} <= before.keys()
        changed = json.dumps(json.loads(before[views.TAG + ACCURACY_VIEW]) | {"name": "Ours"})
        client.set_experiment_tag("0", views.TAG + ACCURACY_VIEW, changed)
        client.set_experiment_tag("0", THEIRS, before[views.TAG + CURVES_VIEW])
        told = replace(TINY, data_root=str(prepared[0]), output=str(place.folder / "outputs"))
        finetune.run(replace(told, evaluate_on="raf+kdef"))
        after = client.get_experiment("0").tags
    assert after[views.TAG + ACCURACY_VIEW] == changed
    assert after[THEIRS] == before[views.TAG + CURVES_VIEW]
    assert json.loads(after[views.TAG + CURVES_VIEW])["sets"] == ["raf", "kdef"]


def test_the_page_of_a_run_opens_in_the_artifact_viewer(place: Place, browser: Any, tmp_path: Path) -> None:
    server = place.link.split("/#/")[0]
    run = place.runs[0]
    page = screenshots.open_page(browser, 1500, 1000)
    page.goto(links.page(server, "0", run_id=run.info.run_id, artifact=REPORT_PAGE))
    report = page.frame_locator("iframe")
    report.get_by_role("heading", name=run.info.run_name).wait_for()
    row = report.locator("table.sets tbody tr").first.inner_text().split()
    shown = [float(text) for text in row if re.fullmatch(r"[\d.]+", text)]
    expected = [run.data.metrics[metric_key("raf", name)] * 100 for name in EXPRESSIONS]
    assert shown[-len(EXPRESSIONS) :] == pytest.approx(expected, abs=0.06)
    page.screenshot(path=tmp_path / "report.png")
    page.close()


def test_the_screenshots_of_the_docs_are_small(
    place: Place, browser: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(screenshots, "DRAWN", 1000)
    server = place.link.split("/#/")[0]
    wanted = {shot.name: shot for shot in screenshots.shots(server)}
    assert list(wanted) == ["accuracy", "accuracy-charts", "confusion", "curves", "run", "report"]
    chosen = [wanted[name] for name in ("accuracy", "confusion", "run")]
    for path in screenshots.take(chosen, tmp_path, browser):
        assert 5_000 < path.stat().st_size < 200_000
