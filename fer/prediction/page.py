"""Serve the demo's page with Gradio, to this machine or those who reach the chosen host, and to nobody else."""

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
from fer.prediction.demo import DemoBackend, error_html, model_choices, take_upload
from fer.utils.processes import interrupting
from fer.utils.rendering import render

UPLOAD_SECONDS = 120
"""Seconds after which an upload is deleted that was never read because its page was closed."""
DELETE_INTERVAL = 30
"""Seconds between two searches for such uploads."""


def serve(config: DemoConfig) -> None:
    """Serve the page until a signal comes.

    Raises:
        ConfigError: Gradio is not installed, the address cannot be listened on, or there is no such device.
        ModelError: The model does not exist or does not fit.
        Interrupted: Ctrl-C or another stopping signal came.
    """
    with tempfile.TemporaryDirectory(prefix="fer-demo-") as name, interrupting():
        uploads = Path(name)
        gradio = _import_gradio(uploads, config.host)
        models = model_choices(config.model)
        backend = DemoBackend(models, config.device)
        # A model that cannot be loaded stops here, not on the page.
        backend.recogniser(next(iter(models)))
        page = _make_page(gradio, backend, list(models), uploads, config.max_megabytes)
        _launch(gradio, page, config)
        try:
            print(f"fer: the page is at {page.local_url} (Ctrl-C ends it)", flush=True)
            while True:
                time.sleep(1)
        finally:
            # The server would wait for open pages, and report this end as an error.
            page.server.force_exit = True
            logging.getLogger("uvicorn.error").disabled = True
            page.close(verbose=False)


def free_port(host: str, port: int) -> int:
    """Return the port, or a free one for 0.

    Raises:
        ConfigError: It cannot be listened on.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        with socket.create_server((host, port), family=family) as server:
            return int(server.getsockname()[1])
    except OSError as error:
        message = f"cannot listen on {host}, port {port} ({error.strerror})"
        raise ConfigError(f"{message}: give another host= or port=, or port=0 for a free one") from None


def _launch(gradio: Any, page: Any, config: DemoConfig) -> None:
    """Open the page to this machine, or to those who reach the host that was chosen, and to nobody else."""
    # Fonts of the machine; Gradio's own would be fetched from elsewhere.
    theme = gradio.themes.Default(
        font=("system-ui", "sans-serif"),
        font_mono=("ui-monospace", "monospace"),
    )
    page.launch(
        server_name=config.host,
        server_port=free_port(config.host, config.port),
        max_file_size=round(config.max_megabytes * 2**20),
        prevent_thread_lock=True,
        quiet=True,
        share=False,
        ssr_mode=False,
        mcp_server=False,
        enable_monitoring=False,
        # Else the browser keeps what was asked.
        run_history=False,
        footer_links=[],
        theme=theme,
        css=render("demo.css"),
    )


def _import_gradio(uploads: Path, host: str) -> Any:
    """Import Gradio, set to keep uploads in a folder, to report to nobody, and to ask this machine without a proxy.

    Raises:
        ConfigError: It is not installed.
    """
    # Gradio reads these when it is imported.
    os.environ["GRADIO_TEMP_DIR"] = str(uploads)
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    # It asks its own server once whether the page is up, which no proxy could answer.
    for key in ("NO_PROXY", "no_proxy"):
        hosts = [os.environ.get(key, ""), host, "127.0.0.1", "localhost"]
        os.environ[key] = ",".join(filter(None, hosts))
    try:
        import gradio
    except ImportError:
        raise ConfigError(
            "the page needs Gradio, which is not installed: install the extra `demo`, such as by "
            "`uv run --extra demo fer demo`"
        ) from None
    return gradio


def _make_page(
    gradio: Any,
    backend: DemoBackend,
    labels: list[str],
    uploads: Path,
    megabytes: float,
) -> Any:
    """Lay out the page and connect it with the backend."""

    def predict(upload: dict[str, Any] | None, label: str, explain: bool, whole: bool) -> tuple[None, str]:
        # The None empties the upload field, for the file is gone.
        try:
            content = take_upload(Path((upload or {}).get("path", "")), uploads)
        except DataError as error:
            return None, error_html(f"{error}.")
        return None, backend.predict(content, label, whole, explain)

    introduction = render(
        "demo_introduction.md",
        megabytes=megabytes,
        megapixels=MAX_PIXELS // 10**6,
    )
    delete_cache = (DELETE_INTERVAL, UPLOAD_SECONDS)
    with gradio.Blocks(title="fer demo", analytics_enabled=False, delete_cache=delete_cache) as page:
        gradio.Markdown(introduction)
        with gradio.Row():
            with gradio.Column(scale=1, min_width=280):
                upload = gradio.File(label="Picture", height=150, elem_id="picture")
                model = gradio.Dropdown(labels, value=labels[0], label="Model", elem_id="model")
                explain = gradio.Checkbox(True, label="Show where each answer comes from", elem_id="explain")
                whole = gradio.Checkbox(False, label="The whole picture is one face", elem_id="whole")
            with gradio.Column(scale=2, min_width=320):
                result = gradio.HTML('<div class="fer"><p class="quiet">The answer appears here.</p></div>')
        description = gradio.HTML(backend.describe(labels[0]))
        # Without Gradio's preprocessing, which would only make another file, the upload arrives as its path.
        events: dict[str, Any] = {"preprocess": False, "api_visibility": "private"}
        upload.upload(predict, [upload, model, explain, whole], [upload, result], **events)
        model.change(backend.describe, [model], [description], **events)
    return page
