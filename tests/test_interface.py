"""MLflow's own pages in headless Chromium: per-class accuracies of runs, as a person looks for them."""

import importlib.util
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from docs import screenshots
from fer.commands import import_reported
from fer.config.commands import ImportReportedConfig
from fer.experiments.files import read_reported
from fer.expressions import EXPRESSIONS
from tests import stores
from tests.tracking.servers import tracking_server

SHOWN = ("raf-kdef-swav-imagenet", "raf-kdef-scratch")
"""Runs of few metrics: the compare page draws fourteen rows without being scrolled."""

pytestmark = [
    pytest.mark.project,
    pytest.mark.skipif(not screenshots.CHROMIUM, reason="there is no Chromium"),
    pytest.mark.skipif(importlib.util.find_spec("playwright") is None, reason="playwright is not installed"),
]

BESIDE = """label => {
    const own = label.parentElement, table = own.closest('[class*=collapse-content-box]');
    const cells = [...table.querySelectorAll('.ReactVirtualized__Grid__innerScrollContainer > div')];
    return cells.filter(cell => cell !== own && cell.style.top === own.style.top).map(cell => cell.innerText);
}"""
"""The compare page draws names and figures in two blocks, whose cells of one row stand at one height."""


@dataclass
class Interface:
    """A running tracking server with the reported runs."""

    address: str
    experiment: str
    runs: dict[str, str]


@pytest.fixture(scope="module")
def interface(empty_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Interface]:
    folder = tmp_path_factory.mktemp("interface")
    stores.copy(empty_store, folder)
    with stores.connected(folder) as client:
        import_reported.run(ImportReportedConfig())
        found = [run for place in client.search_experiments() for run in client.search_runs([place.experiment_id])]
    with tracking_server(folder) as address:
        yield Interface(address, found[0].info.experiment_id, {run.info.run_name: run.info.run_id for run in found})


@pytest.fixture(scope="module")
def page() -> Iterator[Any]:
    with screenshots.browser() as opened:
        # Wide and high, because tables draw only what is in sight.
        yield screenshots.open_page(opened, 6000, 1600)


ROUNDED = 6e-4
"""The pages show three places."""


def test_the_runs_table_shows_per_class_accuracies(interface: Interface, page: Any, tmp_path: Path) -> None:
    page.goto(f"{interface.address}/#/experiments/{interface.experiment}/runs?workflowType=machine_learning")
    page.get_by_text("raf-scratch", exact=True).first.wait_for()
    page.get_by_role("button", name="Columns", exact=True).click()
    group = page.locator("[role=dialog] [class*=tree-treenode]", has_text=re.compile(r"^Metrics \(\d+\)$")).first
    group.locator("[class*=tree-checkbox]").first.click()
    page.keyboard.press("Escape")
    headers = page.locator("[role=columnheader][col-id]")
    headers.filter(has_text="wikimedia/fear").first.wait_for()
    names = {header.get_attribute("col-id"): header.inner_text().strip() for header in headers.all()}
    columns = {name: column for column, name in names.items() if name}
    for run in SHOWN:
        row = page.locator("[role=row]").filter(has=page.get_by_text(run, exact=True)).first.get_attribute("row-id")
        figures = read_reported()[run].figures["wikimedia"].per_class
        for name in EXPRESSIONS:
            cell = page.locator(f'[row-id="{row}"] [col-id="{columns[f"wikimedia/{name}"]}"]').first
            assert float(cell.inner_text()) == pytest.approx(figures[name], abs=ROUNDED), (run, name)
    page.screenshot(path=tmp_path / "runs.png")


def test_the_compare_page_shows_them_beside_each_other(interface: Interface, page: Any, tmp_path: Path) -> None:
    ids = json.dumps([interface.runs[name] for name in SHOWN])
    page.goto(f"{interface.address}/#/compare-runs?runs={ids}&experiments={json.dumps([interface.experiment])}")
    page.get_by_text("Comparing 2 Runs from 1 Experiment").wait_for()
    for name in EXPRESSIONS:
        label = page.get_by_text(f"wikimedia/{name}", exact=True).first
        shown = [float(text) for text in label.evaluate(BESIDE)]
        expected = [read_reported()[run].figures["wikimedia"].per_class[name] for run in SHOWN]
        assert shown == pytest.approx(expected, abs=ROUNDED), name
    page.screenshot(path=tmp_path / "compare.png")
