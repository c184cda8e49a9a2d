"""Files of vision transformers: the names that timm gives their tensors, and positions for another image size."""

import math
import re
from collections import OrderedDict

from torch import Tensor
from torchvision.models import VisionTransformer
from torchvision.models.vision_transformer import interpolate_embeddings

POSITIONS = "encoder.pos_embedding"
"""torchvision's name of the position embeddings, `(1, 1 + rows * columns, width)`, the class token's first."""
_TIMM_NAMES = (
    (r"^class_token$", "cls_token"),
    (rf"^{POSITIONS}$", "pos_embed"),
    (r"^conv_proj\.", "patch_embed.proj."),
    (r"^encoder\.layers\.encoder_layer_", "blocks."),
    (r"^encoder\.ln\.", "norm."),
    (r"^heads\.head\.", "head."),
    (r"\.ln_(\d)\.", r".norm\1."),
    (r"\.self_attention\.in_proj_", ".attn.qkv."),
    (r"\.self_attention\.out_proj\.", ".attn.proj."),
    (r"\.mlp\.0\.", ".mlp.fc1."),
    (r"\.mlp\.3\.", ".mlp.fc2."),
)
TIMM_EXTRAS = ("norm_pre", "reg_token", "dist_token")
"""First parts of timm's names for what some of its transformers compute and torchvision's does not."""
NORM_LAYER = "encoder.ln."
"""How torchvision's names of the last norm begin, through which the class token leaves."""
PATCH_NORM = "fc_norm.weight"
"""timm's name of a norm that follows the mean of all patches, as in fine-tuned masked autoencoders."""


def timm_name(name: str) -> str:
    """Return timm's name of a tensor of torchvision's vision transformer.

    The two compute the same, with the same shapes: MAE, DINO, MoCo v3 and their successors on faces publish their
    weights under timm's names.
    """
    for pattern, replacement in _TIMM_NAMES:
        name = re.sub(pattern, replacement, name)
    return name


def side_in_patches(positions: Tensor) -> int:
    """Return the rows (and columns) of patches that position embeddings stand for; 0: they form no square."""
    is_list = positions.ndim == 3 and len(positions) == 1
    patches = positions.shape[1] - 1 if is_list else 0
    side = math.isqrt(max(patches, 0))
    return side if side * side == patches else 0


def resize_positions(positions: Tensor, backbone: VisionTransformer) -> Tensor:
    """Interpolate position embeddings for the image size of a backbone, bicubically, as torchvision does.

    Args:
        positions: `(1, 1 + side * side, width)`, of a square of patches.
        backbone: What they are for.
    """
    # Half precision, which some files have, cannot be interpolated on every machine.
    state = OrderedDict({POSITIONS: positions.float()})
    resized: Tensor = interpolate_embeddings(backbone.image_size, backbone.patch_size, state)[POSITIONS]
    return resized
