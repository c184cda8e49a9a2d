from fer.config.training import FinetuneConfig
from fer.pipeline.run_page import changed_options, without_folders


def test_options_that_differ_from_their_defaults_are_listed_without_folders_of_a_machine():
    config = FinetuneConfig(
        init="/home/somebody/weights.pth",
        lr=0.1,
        augment=False,
        class_weights=(1.0,) * 7,
        data_root="/data",
        output="/x",
    )
    changed = {name: (value, default) for name, value, default, _ in changed_options(config)}
    assert changed == {
        "init": ("weights.pth", "auto"),
        "lr": ("0.1", "0.0003"),
        "augment": ("false", "true"),
        "class_weights": ("1.0,1.0,1.0,1.0,1.0,1.0,1.0", "none"),
    }


def test_addresses_and_names_of_weights_stay_whole():
    assert without_folders("models:/fer@champion") == "models:/fer@champion"
    assert without_folders("runs:/0123/encoder") == "runs:/0123/encoder"
    assert without_folders("supervised-imagenet") == "supervised-imagenet"
