"""`demo`: the real page in headless Chromium, and what it says where it cannot open."""

import importlib.util
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch
from PIL import Image

from fer.commands.demo import run
from fer.config.commands import DemoConfig
from fer.data.datasets.drawn.parameters import Person, random_actions, studio_scene
from fer.data.datasets.drawn.render import render
from fer.errors import ConfigError
from fer.models.backbones import Classifier, ModelSpec
from fer.models.files import save_classifier
from fer.prediction.page import free_port
from tests.paths import ROOT

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
WITHIN = 90_000
"""Milliseconds the page may take on a busy machine."""
DROP, ANSWER, FAULT = "#picture input[type=file]", ".fer .face", ".fer .fault"


def missing() -> str:
    for package in ("gradio", "playwright"):
        if importlib.util.find_spec(package) is None:
            return f"{package} is not installed"
    return "" if CHROMIUM else "there is no Chromium"


needs_browser = pytest.mark.skipif(bool(missing()), reason=missing())


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small untrained classifier of whole pictures: no detector finds drawn faces reliably."""
    folder = tmp_path_factory.mktemp("model")
    torch.manual_seed(0)
    spec = ModelSpec("squeezenet1_1", 32, terms=("research only",), trained_on=("drawn-raf",), framing="none")
    save_classifier(Classifier(spec), folder)
    return folder


@dataclass
class Demo:
    """A running demo."""

    process: subprocess.Popen[str]
    address: str
    temporary: Path
    home: Path

    def left(self) -> list[str]:
        """Everything on the disk that holds something, where uploads could lie."""
        places = (*self.temporary.rglob("*"), *self.home.rglob("*"))
        kept = [path for path in places if path.is_file() and path.suffix.lower() in (".png", ".jpg", ".webp")]
        uploads = [path for path in self.temporary.glob("fer-demo-*/**/*") if path.is_file()]
        return [str(path) for path in (*kept, *uploads)]


def started(folder: Path, *options: str) -> Demo:
    temporary, home = folder / "tmp", folder / "home"
    temporary.mkdir()
    home.mkdir()
    environment = {
        **os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(temporary), "HOME": str(home),
        "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db", "http_proxy": "http://127.0.0.1:9",
    }  # fmt: skip
    for name in ("MLFLOW_RUN_ID", "MLFLOW_REGISTRY_URI"):
        environment.pop(name, None)
    process = subprocess.Popen(
        [sys.executable, "-m", "fer", "demo", "--device", "cpu", "--port", "0", *options],
        cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    line = process.stdout.readline()
    found = re.search(r"http://127\.0\.0\.1:\d+/", line)
    if not found:
        process.kill()
        pytest.fail(line + process.communicate()[1])
    return Demo(process, found[0], temporary, home)


@pytest.fixture(scope="module")
def demo(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    running = started(tmp_path_factory.mktemp("demo"), "--model", str(model), "--max_megabytes", "1")
    yield running
    if running.process.poll() is None:
        running.process.kill()
        running.process.communicate()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture
def drawn(tmp_path: Path) -> Path:
    rng = np.random.default_rng(1)
    face = render(Person(rng), random_actions(rng, "happiness"), studio_scene(rng, 0), (160, 160), rng)
    face.save(tmp_path / "face.png")
    return tmp_path / "face.png"


def until_nothing_is_left(demo: Demo) -> None:
    for _ in range(50):
        if not demo.left():
            return
        time.sleep(0.1)
    pytest.fail(f"left on the disk: {demo.left()}")


@needs_browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_dropped_picture_is_answered_and_nothing_is_kept_or_fetched(
    demo: Demo, browser: Any, drawn: Path, tmp_path: Path, scheme: str
) -> None:
    context = browser.new_context(color_scheme=scheme)
    page, asked = context.new_page(), set()
    page.on("request", lambda request: asked.add(request.url))
    page.goto(demo.address)
    page.wait_for_selector(DROP, state="attached", timeout=WITHIN)
    for words in ("research only", "no diagnosis of feelings"):
        page.get_by_text(words).first.wait_for(timeout=WITHIN)
    page.set_input_files(DROP, drawn)
    page.wait_for_selector(ANSWER, timeout=WITHIN)
    assert page.locator(".fer .share").count() == 7
    assert page.locator(".fer img.map").count() == 1
    shares = [int(text.removesuffix("%")) for text in page.locator(".fer .share b").all_inner_texts()]
    assert sum(shares) == pytest.approx(100, abs=4)
    page.screenshot(path=tmp_path / f"{scheme}.png", full_page=True)
    corner = Image.open(tmp_path / f"{scheme}.png").convert("L").getpixel((2, 2))
    assert corner > 200 if scheme == "light" else corner < 60
    until_nothing_is_left(demo)
    assert {url.split("/")[2] for url in asked if url.startswith("http")} == {demo.address.split("/")[2]}
    stored = page.evaluate("indexedDB.databases().then(found => found.length + localStorage.length)")
    assert stored == 0, "the browser keeps nothing either"
    context.close()


@needs_browser
def test_what_cannot_be_answered_is_said_and_not_kept(demo: Demo, browser: Any, tmp_path: Path) -> None:
    (tmp_path / "no.jpg").write_text("no picture")
    (tmp_path / "large.png").write_bytes(os.urandom(1_200_000))
    page = browser.new_page()
    page.goto(demo.address)
    page.wait_for_selector(DROP, state="attached", timeout=WITHIN)
    page.set_input_files(DROP, tmp_path / "no.jpg")
    page.wait_for_selector(FAULT, timeout=WITHIN)
    assert page.inner_text(FAULT).startswith("No answer: no readable picture")
    until_nothing_is_left(demo)
    page.set_input_files(DROP, tmp_path / "large.png")
    page.wait_for_selector("text=maximum allowed size of 1", timeout=WITHIN)
    page.screenshot(path=tmp_path / "faults.png", full_page=True)
    until_nothing_is_left(demo)
    page.close()


@needs_browser
def test_ctrl_c_ends_it_with_one_line_and_no_folder_left(demo: Demo) -> None:  # the last to use it
    assert list(demo.temporary.glob("fer-demo-*"))
    os.kill(demo.process.pid, signal.SIGINT)
    out, err = demo.process.communicate(timeout=60)
    assert (demo.process.returncode, out) == (130, "")
    assert err.strip() == "fer: stopped by signal 2"
    assert not list(demo.temporary.glob("fer-demo-*"))


def test_without_gradio_one_sentence_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gradio", None)
    with (
        mock.patch.dict(os.environ),
        pytest.raises(ConfigError, match=r"Gradio, which is not installed: .*extra `demo`"),
    ):
        run(DemoConfig())


def test_a_free_port_is_found_and_a_taken_one_is_said() -> None:
    with socket.create_server(("127.0.0.1", free_port("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f"port {port} .*port=0 for a free one"):
            free_port("127.0.0.1", port)
    with pytest.raises(ConfigError, match="cannot listen on no-such-host"):
        free_port("no-such-host.invalid", 0)
