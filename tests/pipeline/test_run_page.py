from fer.config.training import FinetuneConfig
from fer.pipeline.run_page import changed_options


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
