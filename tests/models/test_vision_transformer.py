"""Files under timm's names, checked against timm itself."""

import pytest
import timm
import torch
import torchvision
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from fer.errors import ModelError
from fer.models.backbones import Encoder, ModelSpec, arch_options
from fer.models.initial_weights import InitialWeights, LoadReport, load_initial_weights
from fer.models.vision_transformer import POSITIONS, timm_name

SIZE = 64


@pytest.fixture(scope="module")
def theirs() -> nn.Module:
    """ViT-B/32, whose few patches are fast, with nothing left at 0 or 1."""
    torch.manual_seed(3)
    return random_timm("vit_base_patch32_224")


def random_timm(arch: str, **options: object) -> nn.Module:
    network = timm.create_model(arch, pretrained=False, img_size=SIZE, **options).eval()
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.05)
    return network


@pytest.fixture
def encoder() -> Encoder:
    return Encoder(spec("vit_b_32", SIZE))


def spec(arch: str, size: int) -> ModelSpec:
    return ModelSpec(arch, size, arch_options(arch, size))


def load(model: Encoder, state: dict[str, torch.Tensor]) -> LoadReport:
    return load_initial_weights(model, InitialWeights("vit.pth", state))


def features(network: nn.Module, images: torch.Tensor) -> torch.Tensor:
    return network.forward_head(network.forward_features(images), pre_logits=True)


@pytest.mark.parametrize("prefix", ["", "module.", "backbone.", "encoder.", "model.visual_encoder."])
@torch.no_grad()
def test_outputs_equal_timms(encoder, theirs, prefix):
    report = load(encoder, {prefix + name: tensor for name, tensor in theirs.state_dict().items()})
    own = encoder.backbone.state_dict()
    assert (report.matched, report.missing, report.prefix, report.notes) == (len(own), (), prefix, ())
    assert report.unexpected == (f"{prefix}head.weight", f"{prefix}head.bias")
    images = torch.randn(2, 3, SIZE, SIZE)
    wanted = features(theirs, images)
    assert wanted.std() > 0.01
    torch.testing.assert_close(encoder.backbone.eval()(images), wanted, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_outputs_of_the_usual_size_equal_timms():
    torch.manual_seed(4)
    network = random_timm("vit_base_patch16_224")
    model = Encoder(spec("vit_b_16", SIZE))
    assert load(model, network.state_dict()).missing == ()
    images = torch.randn(1, 3, SIZE, SIZE)
    torch.testing.assert_close(model.backbone.eval()(images), features(network, images), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("arch", ["vit_b_16", "vit_b_32", "vit_l_16", "vit_l_32", "vit_h_14"])
def test_each_size_has_the_names_and_shapes_of_timms(arch):
    kind = {"b": "base", "l": "large", "h": "huge"}[arch[4]]
    size = 28 if arch.endswith("14") else 32
    with torch.device("meta"):
        ours = torchvision.models.get_model(arch, image_size=size).state_dict()
        timms = timm.create_model(f"vit_{kind}_patch{arch[6:]}_224", pretrained=False, img_size=size, num_classes=1000)
    shapes = {name: tensor.shape for name, tensor in timms.state_dict().items()}
    assert {timm_name(name): tensor.shape for name, tensor in ours.items()} == shapes


def test_a_masked_autoencoders_decoder_is_left_over(encoder, theirs):
    decoder = {
        "mask_token": torch.zeros(1, 1, 8),
        "decoder_pos_embed": torch.zeros(1, 5, 8),
        "decoder_blocks.0.norm1.weight": torch.zeros(8),
        "decoder_norm.weight": torch.zeros(8),
    }
    state = {name: tensor for name, tensor in theirs.state_dict().items() if not name.startswith("head.")}
    report = load(encoder, decoder | state)
    assert (report.missing, set(report.unexpected)) == ((), set(decoder))


@torch.no_grad()
def test_one_fine_tuned_on_the_mean_of_patches_keeps_a_fresh_norm_and_says_so(encoder):
    state = random_timm("vit_base_patch32_224", global_pool="avg", class_token=True).state_dict()
    assert {"fc_norm.weight", "cls_token"} <= state.keys()
    report = load(encoder, state)
    assert report.missing == ("encoder.ln.weight", "encoder.ln.bias")
    assert "trained on the mean of all patches (fc_norm.weight)" in str(report)
    assert torch.equal(encoder.backbone.encoder.ln.weight, torch.ones(768))


@pytest.mark.parametrize("is_timm", [True, False])
@torch.no_grad()
def test_positions_of_another_image_size_are_interpolated(theirs, is_timm):
    model = Encoder(spec("vit_b_32", 96))
    state = theirs.state_dict()
    if not is_timm:
        same_size = Encoder(spec("vit_b_32", SIZE))
        load(same_size, state)
        state = same_size.backbone.state_dict()
    report = load(model, {name: tensor.half() for name, tensor in state.items()})
    assert (report.missing, report.notes) == ((), ("position embeddings interpolated from 2 x 2 to 3 x 3 patches",))
    before, after = theirs.pos_embed[0], model.backbone.encoder.pos_embedding[0]
    torch.testing.assert_close(after[0], before[0], atol=1e-3, rtol=0)
    # Corners stay, and the middle is the mean of all four.
    torch.testing.assert_close(after[1:][[0, 2, 6, 8]], before[1:], atol=1e-3, rtol=0)
    torch.testing.assert_close(after[5], before[1:].mean(0), atol=1e-3, rtol=0)


@pytest.mark.parametrize("rows", [4, 6, 7])
def test_positions_that_are_no_square_after_a_class_token_are_refused(encoder, theirs, rows):
    state = theirs.state_dict() | {"pos_embed": torch.zeros(1, rows, 768)}
    with pytest.raises(ModelError, match=r"^vit\.pth holds no weights of vit_b_32: pos_embed is not one position"):
        load(encoder, state)


@pytest.mark.parametrize(
    "options",
    [{"init_values": 0.1}, {"qk_norm": True}, {"pre_norm": True}, {"reg_tokens": 4, "no_embed_class": False}],
    ids=str,
)
def test_transformers_that_compute_something_else_are_refused(encoder, options):
    with torch.device("meta"):
        network = VisionTransformer(SIZE, 32, embed_dim=768, depth=12, num_heads=12, **options)
    with pytest.raises(ModelError, match=r"holds no weights of vit_b_32: (it also has .*|pos_embed is not.*)"):
        load(encoder, network.state_dict())


def test_another_size_of_transformer_is_refused(encoder):
    with torch.device("meta"):
        state = timm.create_model("vit_small_patch32_224", pretrained=False).state_dict()
    with pytest.raises(ModelError, match=r"patch_embed\.proj\.weight has another shape|cls_token has another shape"):
        load(encoder, state)


def test_names_are_timms_and_no_two_are_alike():
    names = torchvision.models.vit_b_32(num_classes=7).state_dict().keys()
    assert POSITIONS in names
    assert len({timm_name(name) for name in names}) == len(names)
