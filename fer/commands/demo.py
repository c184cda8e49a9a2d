"""`demo`: a page on this machine that answers a dropped picture and keeps nothing of it."""

import logging
import os
import socket
import tempfile
import time
from pathlib import Path
from typing import Any

from fer.config.commands import DemoConfig
from fer.errors import ConfigError, DataError
from fer.portable.images import MAX_PIXELS
from fer.prediction.demo_backend import Answering, choices, taken
from fer.prediction.demo_page import STYLE, fault_page
from fer.utils.signals import interrupting

FORGOTTEN = 120
"""Seconds after which an upload is deleted that was never answered because its page was closed."""
FONTS = ("system-ui", "sans-serif")
"""Of the machine: others would be fetched from elsewhere."""
INTRODUCTION = """# Facial expressions
Drop a picture. Each face gets the expression that people would most likely name for it. A picture may have up to
{megabytes:g} MB and {megapixels} million pixels. It stays on the machine that runs this page: it is deleted as soon as
it has been read, and nothing is kept after the answer. To ask another model, drop it again.
"""


def run(config: DemoConfig) -> None:
    """Serve the page until a signal comes.

    Raises:
        ConfigError: Gradio is not installed, the address cannot be listened on, or there is no such device.
        ModelError: The model does not exist or does not fit.
        Interrupted: Ctrl-C or SIGTERM came.
    """
    with tempfile.TemporaryDirectory(prefix="fer-demo-") as name, interrupting():
        gradio = _gradio(Path(name), config.host)
        models = choices(config.model)
        answering = Answering(models, config.device)
        answering.recogniser(next(iter(models)))  # a model that cannot be loaded stops here, not on the page
        page = _page(gradio, answering, list(models), Path(name), config.max_megabytes)
        _launch(gradio, page, config)
        try:
            print(f"fer: the page is at {page.local_url} (Ctrl-C ends it)", flush=True)
            while True:
                time.sleep(1)
        finally:
            page.server.force_exit = True  # open pages would be waited for,
            logging.getLogger("uvicorn.error").disabled = True  # and this end be reported as a fault
            page.close(verbose=False)


def free_port(host: str, port: int) -> int:
    """Return the port, or a free one for 0.

    Raises:
        ConfigError: It cannot be listened on.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        with socket.create_server((host, port), family=family) as probe:
            return int(probe.getsockname()[1])
    except OSError as error:
        why = f"cannot listen on {host}, port {port} ({error.strerror})"
        raise ConfigError(f"{why}: give another host= or port=, or port=0 for a free one") from None


def _launch(gradio: Any, page: Any, config: DemoConfig) -> None:
    """Open the page to this machine, or to those who reach the host that was chosen, and to nobody else."""
    page.launch(
        server_name=config.host,
        server_port=free_port(config.host, config.port),
        max_file_size=round(config.max_megabytes * 2**20),
        prevent_thread_lock=True,
        quiet=True,
        share=False,
        inbrowser=False,
        ssr_mode=False,
        mcp_server=False,
        pwa=False,
        enable_monitoring=False,
        run_history=False,  # else the browser keeps what was asked
        footer_links=[],
        theme=gradio.themes.Default(font=FONTS, font_mono=("ui-monospace", "monospace")),
        css=STYLE,
    )


def _gradio(folder: Path, host: str) -> Any:
    """Return Gradio, told to put uploads into a folder, to report to nobody, and to ask this machine directly.

    Raises:
        ConfigError: It is not installed.
    """
    os.environ |= {"GRADIO_TEMP_DIR": str(folder), "GRADIO_ANALYTICS_ENABLED": "False"}
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    for key in ("NO_PROXY", "no_proxy"):
        os.environ[key] = ",".join(filter(None, (os.environ.get(key), host, "127.0.0.1", "localhost")))
    try:
        import gradio
    except ImportError:
        raise ConfigError(
            "the page needs Gradio, which is not installed: install the extra `demo`, such as by "
            "`uv run --extra demo fer demo`"
        ) from None
    return gradio


def _page(gradio: Any, answering: Answering, labels: list[str], folder: Path, megabytes: float) -> Any:
    """Return the page."""

    def answer(upload: dict[str, Any] | None, label: str, explain: bool, whole: bool) -> tuple[None, str]:
        try:
            content = taken(Path((upload or {}).get("path", "")), folder)
        except DataError as error:
            return None, fault_page(f"{error}.")
        return None, answering.answer(content, label, whole, explain)

    with gradio.Blocks(title="fer demo", analytics_enabled=False, delete_cache=(30, FORGOTTEN)) as page:
        gradio.Markdown(INTRODUCTION.format(megabytes=megabytes, megapixels=MAX_PIXELS // 10**6))
        with gradio.Row():
            with gradio.Column(scale=1, min_width=280):
                upload = gradio.File(label="Picture", height=150, elem_id="picture")
                model = gradio.Dropdown(labels, value=labels[0], label="Model", elem_id="model")
                explain = gradio.Checkbox(True, label="Show where each answer comes from", elem_id="explain")
                whole = gradio.Checkbox(False, label="The whole picture is one face", elem_id="whole")
            with gradio.Column(scale=2, min_width=320):
                answered = gradio.HTML('<div class="fer"><p class="quiet">The answer appears here.</p></div>')
        about = gradio.HTML(answering.about(labels[0]))
        # Without Gradio's preprocessing, which would only make another file, the upload arrives as its place.
        asked: dict[str, Any] = {"preprocess": False, "api_visibility": "private"}
        upload.upload(answer, [upload, model, explain, whole], [upload, answered], **asked)
        model.change(answering.about, [model], [about], **asked)
    return page
