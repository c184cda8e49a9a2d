import json

from fer.evaluation.names import flatten, metric_key, nest, present_name, rounded, sets_with_figures


def test_names_of_figures():
    assert metric_key("raf", "fear") == "raf/fear"
    assert metric_key("kdef/frontal", "class_mean", "_low") == "kdef/frontal/class_mean_low"


def test_figures_of_earlier_versions_get_their_present_names():
    assert present_name("raf/accuracy/fear") == "raf/fear"
    assert present_name("kdef/frontal/accuracy_low/neutral") == "kdef/frontal/neutral_low"
    assert present_name("raf/mean_class_accuracy_high") == "raf/class_mean_high"
    assert present_name("validation/mean_class_accuracy") == "validation/class_mean"
    for name in ("raf/fear_low", "raf/class_mean", "raf/accuracy_low", "raf/support/fear", "raf/recall/fear"):
        assert present_name(name) == name


def test_shares_are_rounded_and_other_metrics_are_not():
    metrics = {"raf/fear": 0.123456, "validation/accuracy": 2 / 3, "lr": 1.23456e-5, "train/loss": 1.23456}
    assert rounded(metrics) == {
        "raf/fear": 0.1235,
        "validation/accuracy": 0.6667,
        "lr": 1.23456e-5,
        "train/loss": 1.23456,
    }


def test_figures_survive_nesting_and_json():
    figures = {"accuracy": 0.5, "support/fear": 3.0, "support/anger": 0.0, "frontal/support/fear": 1.0}
    content = nest(figures)
    assert content["support"] == {"fear": 3.0, "anger": 0.0}
    assert flatten(json.loads(json.dumps(content))) == figures
    assert flatten(content, "kdef/")["kdef/frontal/support/fear"] == 1.0


def test_only_numbers_are_figures():
    assert flatten({"expressions": ["fear"], "confusion": [[1]], "part": "test", "images": 3, "nll": None}) == {
        "images": 3.0
    }


def test_sets_with_figures_are_known_by_their_accuracy():
    metrics = [
        "wikimedia/accuracy",
        "raf/accuracy",
        "kdef/fear",
        "validation/accuracy",
        "train/accuracy",
        "mine/accuracy",
    ]
    others = ["raf/test_each_epoch/accuracy", "mine/accuracy_low", "accuracy"]
    assert sets_with_figures([*metrics, *others]) == ["mine", "raf", "wikimedia"]
