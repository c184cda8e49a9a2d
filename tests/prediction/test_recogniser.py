import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import fer
from fer.data.datasets.wikimedia import WIKIMEDIA
from fer.data.packing import PackedImages, pack
from fer.data.prepare import prepare
from fer.errors import ConfigError, DataError, ModelError
from fer.evaluation.calibration import softmax_with_temperature
from fer.evaluation.datasets import outputs
from fer.expressions import EXPRESSIONS
from fer.models.backbones import Classifier, ModelSpec
from fer.models.files import save_classifier
from fer.prediction import recogniser as recognition
from fer.prediction.recogniser import Recogniser
from tests.data.test_framing import StandIn, paint
from tests.paths import REAL_FACES, ROOT

TOLERANCE = 1e-5
"""Between probabilities of whole batches, channels last, and of single faces."""


def recogniser(framing: str = "detect", image_size: int = 32, crop_size: int = 0) -> Recogniser:
    torch.manual_seed(0)
    spec = ModelSpec(
        "squeezenet1_1", image_size, terms=("research only",), temperature=1.5, framing=framing, crop_size=crop_size
    )
    return Recogniser(Classifier(spec))


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recognition, "_detector", StandIn)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("model")
    save_classifier(recogniser().network, made)
    return made


def assert_faces_as_evaluated(model: Recogniser, download: Path, root: Path, detector: object) -> None:
    """Compare the faces found in files with the evaluation of the same files as a prepared set."""
    manifest = prepare(WIKIMEDIA, download, root, detector).manifest
    images = PackedImages([(manifest, pack(manifest, root, model.spec.crop_size))], torch.device("cpu"))
    indices = torch.arange(len(manifest.images))
    scores = outputs(model.network, images, indices, model.spec.image_size, 32)
    wanted = softmax_with_temperature(scores.numpy(), model.spec.temperature)
    compared = 0
    for row, scores in zip(manifest.images, wanted, strict=True):
        found = model.faces(root / row.path)
        if row.framed == "detected":
            assert list(found[0].probabilities.values()) == pytest.approx(list(scores), abs=TOLERANCE)
            compared += 1
        else:
            assert found == []
    assert compared


@pytest.mark.parametrize("crop_size", [32, 20])
def test_a_file_gives_the_probabilities_of_evaluation_on_the_prepared_set(
    stand_in: None, tmp_path: Path, crop_size: int
) -> None:
    for number, (x, y, lean) in enumerate([(30, 40, 0), (50, 44, 20), (38, 61, 200), (0, 0, 0)]):
        paint(tmp_path / f"download/{number + 1}/a.png", x, y, lean)
    assert_faces_as_evaluated(recogniser(crop_size=crop_size), tmp_path / "download", tmp_path / "data", StandIn)


@pytest.mark.skipif(not REAL_FACES.is_dir(), reason=f"the real Wikimedia set is not at {REAL_FACES}")
def test_real_faces_are_found_framed_and_classified_as_in_evaluation(tmp_path: Path) -> None:
    for path in sorted(REAL_FACES.glob("4/*"))[:10]:
        place = tmp_path / "download/4" / path.name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(path.read_bytes())
    assert_faces_as_evaluated(recogniser(), tmp_path / "download", tmp_path / "data", recognition.center_face)


def test_the_astronauts_face_is_found_in_every_form_of_the_picture() -> None:
    found = importlib.util.find_spec("skimage")
    path = Path(found.origin).parent / "data/astronaut.png" if found and found.origin else Path("none")
    if not path.is_file():
        pytest.skip("scikit-image's picture of an astronaut is not installed")
    model = recogniser()
    with Image.open(path) as image:
        pixels = np.asarray(image.convert("RGB"))
    forms = [path, str(path), path.read_bytes(), Image.fromarray(pixels), pixels]
    (first,), *others = [model.faces(picture) for picture in forms]
    left, top, right, bottom = first.box
    assert left < 203 < 246 < right and top < 101 < 142 < bottom, "eyes and mouth lie inside"
    assert 0.8 < first.score <= 1
    assert first.crop.shape == (32, 32, 3) and first.crop.dtype == np.uint8
    assert list(first.probabilities) == list(EXPRESSIONS)
    assert sum(first.probabilities.values()) == pytest.approx(1, abs=1e-5)
    assert first.expression == max(first.probabilities, key=first.probabilities.__getitem__)
    for (other,) in others:
        assert other.box == first.box and other.probabilities == first.probabilities


def test_whole_pictures_are_taken_when_asked_or_when_the_model_was_trained_so(stand_in: None, tmp_path: Path) -> None:
    paint(tmp_path / "a.png", 30, 40)
    asked = recogniser().faces(tmp_path / "a.png", framing="none")
    trained = recogniser(framing="none").faces(tmp_path / "a.png")
    for (face,) in (asked, trained):
        assert (face.box, face.score) == ((0, 0, 80, 100), 1)
        whole = Image.open(tmp_path / "a.png").resize((32, 32), Image.Resampling.BILINEAR)
        assert np.array_equal(face.crop, whole)
    (framed,) = recogniser().faces(tmp_path / "a.png")
    assert framed.box != (0, 0, 80, 100)


def test_pixels_of_any_size_give_scores_and_those_of_the_networks_size_are_unchanged() -> None:
    model, images = recogniser(), torch.rand(3, 3, 32, 32) * 255
    with torch.inference_mode():
        assert torch.equal(model(images), model.network(images))
        assert model(torch.rand(2, 3, 70, 50) * 255).shape == (2, 7)
        grown = torch.nn.functional.interpolate(images[:, :, :24, :24], size=(32, 32), mode="bilinear")
        assert torch.allclose(model(images[:, :, :24, :24]), model.network(grown), atol=1e-4)
    expected = (model.network(images) / 1.5).softmax(1)
    assert torch.allclose(model.probabilities(images), expected, atol=1e-6)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (b"no picture", "no readable picture"),
        ("nowhere.png", r"^nowhere\.png: missing file"),
        (np.zeros((4, 4, 3), np.float32), "give uint8 of shape"),
        (np.zeros((4, 4, 7), np.uint8), "give uint8 of shape"),
        (np.zeros((), np.uint8), "give uint8 of shape"),
        (np.zeros((0, 4, 3), np.uint8), "give uint8 of shape"),
        (None, "give uint8 of shape"),
        (Image.new("RGB", (0, 0)), "give uint8 of shape"),
        (Image.new("F", (4, 4)), "grey values of 32 bits"),
        ("a\x1b[31m", r"^a\\x1b\[31m: missing file"),
    ],
    ids=["bytes", "path", "floats", "channels", "a number", "no rows", "nothing", "no pixels", "grey", "terminal"],
)
def test_what_is_no_picture_is_refused_with_the_cure(given: object, sentence: str) -> None:
    with pytest.raises(DataError, match=sentence):
        recogniser().faces(given)


def test_an_unknown_framing_is_refused() -> None:
    with pytest.raises(ConfigError, match="unknown framing 'nnoe': did you mean 'none'"):
        recogniser().faces(np.zeros((4, 4, 3), np.uint8), framing="nnoe")


def test_a_folder_loads_without_mlflow(folder: Path, tmp_path: Path) -> None:
    code = (
        "import sys, fer\nassert 'torch' not in sys.modules, 'imported before it is needed'\n"
        f"model = fer.load({str(folder)!r}, device='cpu')\n"
        "assert 'mlflow' not in sys.modules\nprint(model.terms, model.address, model.training)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == f"('research only',) {folder} False"


def test_a_checkpoint_loads_with_its_own_weights(tmp_path: Path) -> None:
    network = recogniser().network
    torch.save({"spec": network.spec.to_dict(), "model": network.state_dict()}, tmp_path / "best.ckpt")
    loaded, images = fer.load(str(tmp_path / "best.ckpt"), "cpu"), torch.rand(1, 3, 32, 32) * 255
    with torch.inference_mode():
        assert torch.equal(loaded(images), recogniser()(images))
    assert isinstance(loaded, torch.nn.Module)


def test_a_model_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="there is no model at"):
        fer.load(str(tmp_path / "nothing"), "cpu")
