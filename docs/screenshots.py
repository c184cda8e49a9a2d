"""Make the screenshots of README and docs from a store, such as that of the demo, with Chromium and playwright.

python docs/screenshots.py sqlite:///mlflow.db
"""

import argparse
import io
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow
from PIL import Image

from fer.tracking import links, store
from fer.tracking.names import (
    ACCURACY_VIEW,
    COMMAND,
    CONFUSION_IMAGES,
    CURVES_VIEW,
    PRETRAINING_VIEW,
    REGISTERED,
    REPORT_PAGE,
    TESTED,
)
from fer.tracking.views import TAG

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome") or ""
WITHIN = 90_000
"""Milliseconds a page may take on a busy machine."""
DRAWN = 5_000
"""Milliseconds in which a page's charts are drawn."""
QUALITY = 88
"""Of a picture: letters are as sharp as on the screen."""
SETTINGS = """
localStorage.setItem('mlflow.assistant.fab.autoOpenedOnFirstLoad_v1', 'true');
localStorage.setItem('mlflow.assistant.panelOpen_v1', 'false');
"""
"""Keeps MLflow's assistant closed, which covers a third of a page that is opened for the first time."""


@dataclass(frozen=True)
class Shot:
    """One screenshot.

    Attributes:
        name: The file's name without its ending.
        link: What to open.
        text: Something that the page shows when it is ready.
        width: Of the window, in pixels.
        height: Likewise.
        scroll_to: Name of a section of charts that is brought into sight first; empty for the page's top.
        click: A text that is clicked first; empty for none.
    """

    name: str
    link: str
    text: str
    width: int = 1500
    height: int = 640
    scroll_to: str = ""
    click: str = ""


def main() -> None:
    """Read the command line and make every screenshot that the store has something for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("store", help="address of the store, such as sqlite:///mlflow.db, or of a server")
    parser.add_argument("--folder", type=Path, default=Path(__file__).parent)
    given = parser.parse_args()
    address = store.absolute(given.store)
    with serving(address) as server, browser() as opened:
        for path in take(shots(server), given.folder, opened):
            print(f"{path}: {path.stat().st_size / 1000:.0f} kB")


@contextmanager
def serving(address: str) -> Iterator[str]:
    """Run MLflow's interface on a store and yield its address; a server is one already."""
    if address.startswith("http"):
        yield address.rstrip("/")
        return
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    words = ["ui", "--backend-store-uri", address, "--workers", "1", "--host", "127.0.0.1", "--port", port]
    # Jobs are for evaluating prompts; each of their processes would import MLflow.
    environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    server = subprocess.Popen(
        [sys.executable, "-m", "mlflow", *words],
        env=environment,
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _await(f"http://127.0.0.1:{port}/health")
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(timeout=30)


def _await(address: str) -> None:
    until = time.monotonic() + WITHIN / 1000
    while time.monotonic() < until:
        try:
            urllib.request.urlopen(address, timeout=5).close()
            return
        except OSError:
            time.sleep(0.3)
    raise SystemExit(f"{address} does not answer")


def shots(server: str) -> list[Shot]:
    """Return the screenshots for which a server has something to show.

    Args:
        server: Its address.
    """
    client = mlflow.MlflowClient(server, registry_uri=server)
    experiment = next((each for each in client.search_experiments() if TAG + ACCURACY_VIEW in each.tags), None)
    if experiment is None:
        raise SystemExit("the store holds no tested run: run `fer main` first")
    place = experiment.experiment_id

    def view(key: str, charts: bool = False) -> str:
        return links.page(server, place, view=key) + ("&compareRunsMode=CHART" if charts else "")

    found = [
        Shot("accuracy", view(ACCURACY_VIEW), "Run Name", width=2400, height=470),
        Shot("accuracy-charts", view(ACCURACY_VIEW, charts=True), "Run Name", height=1000),
        Shot("confusion", view(ACCURACY_VIEW, charts=True), "Run Name", height=760, scroll_to=CONFUSION_IMAGES),
    ]
    if TAG + CURVES_VIEW in experiment.tags:
        found.append(Shot("curves", view(CURVES_VIEW, charts=True), "Run Name", height=1000))
    if TAG + PRETRAINING_VIEW in experiment.tags:
        found.append(Shot("pre-training", view(PRETRAINING_VIEW, charts=True), "Run Name", height=1000))
    trainings = client.search_runs([place], f"tags.`{COMMAND}` = 'finetune' and tags.`{TESTED}` = 'true'")
    if trainings:
        run_id = trainings[0].info.run_id
        found.append(Shot("run", links.page(server, place, run_id=run_id), "Metrics", height=1000, click="Show more"))
        if any(item.path == REPORT_PAGE for item in client.list_artifacts(run_id)):
            report = links.page(server, place, run_id=run_id, artifact=REPORT_PAGE)
            found.append(Shot("report", report, REPORT_PAGE, height=1200))
    registered = [run for run in trainings if REGISTERED in run.data.tags]
    if registered:
        version = client.search_model_versions(f"run_id = '{registered[0].info.run_id}'")[0]
        model = links.version_page(server, version.name, version.version)
        found.append(Shot("model", model, "Registered At", height=1000))
    return found


@contextmanager
def browser() -> Iterator[Any]:
    """Yield a headless Chromium."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


def open_page(opened: Any, width: int, height: int) -> Any:
    """Return an empty page of a browser with a window of so many pixels; MLflow's assistant stays closed on it."""
    page = opened.new_page(viewport={"width": width, "height": height})
    page.set_default_timeout(WITHIN)
    page.add_init_script(SETTINGS)
    return page


def take(wanted: list[Shot], folder: Path, opened: Any) -> Iterator[Path]:
    """Make screenshots in a browser and yield each one's file."""
    folder.mkdir(parents=True, exist_ok=True)
    for shot in wanted:
        page = open_page(opened, shot.width, shot.height)
        page.goto(shot.link)
        page.get_by_text(shot.text).first.wait_for()
        if shot.scroll_to:
            heading = page.get_by_text(shot.scroll_to, exact=True).first
            heading.evaluate("element => element.scrollIntoView()")
        if shot.click:
            page.get_by_text(shot.click).first.click()
        # Charts are drawn one by one and tell nobody when they are done; the network never rests.
        page.wait_for_timeout(DRAWN)
        path = folder / f"{shot.name}.webp"
        with Image.open(io.BytesIO(page.screenshot())) as picture:
            # A third of Chromium's own PNG.
            picture.convert("RGB").save(path, quality=QUALITY, method=6)
        page.close()
        yield path


if __name__ == "__main__":
    main()
