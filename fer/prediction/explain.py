"""Saliency maps: integrated gradients from the blurred face.

They need no layer of a certain kind, so they work for every backbone at every size; at 48 to 64 pixels the last map of
a ResNet has 2x2 cells, too few for Grad-CAM. And unlike hiding patches they see evidence that stands in several places:
of a smile the FER+ model was sure of, no hidden sixteenth of the face cost as much as 0.01 of the log-probability.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from captum.attr import IntegratedGradients
from numpy.typing import NDArray
from torch import Tensor
from torchvision.transforms.functional import gaussian_blur

from fer.expressions import EXPRESSIONS
from fer.prediction.annotate import MAX_CARDS, SaliencyMap
from fer.prediction.recogniser import RecognisedFace, Recogniser

STEPS = 32
BATCH_SIZE = 16
"""Points of the integral, and how many of them are computed at a time."""
BASELINE_BLUR = 1 / 8
MAP_BLUR = 1 / 24
"""Standard deviations of the Gaussians that blur the baseline and the map, as fractions of the face's side."""
MIN_EVIDENCE = 1e-3
"""Evidence in all, in log-probability, below which a map would show rounding."""

Network = Callable[[Tensor], Tensor]


def explain_faces(recogniser: Recogniser, faces: Sequence[RecognisedFace]) -> list[SaliencyMap]:
    """Return the saliency of the faces that get a card, the first `MAX_CARDS`."""
    device = next(recogniser.network.parameters()).device

    def scores(images: Tensor) -> Tensor:
        # Evidence for the probabilities that are shown, which the model's temperature has softened.
        logits: Tensor = recogniser(images)
        return logits / recogniser.spec.temperature

    return [saliency_map(scores, face.crop, face.expression, device) for face in faces[:MAX_CARDS]]


def saliency_map(network: Network, crop: NDArray[np.uint8], expression: str, device: torch.device) -> SaliencyMap:
    """Return the positive part of `integrated_gradients`, smoothed and scaled to a maximum of 1.

    So maps of two faces compare in place, not in strength. Arguments as of `integrated_gradients`.

    Returns:
        float32 `(S, S)` in [0, 1]; all 0 where no pixel speaks for the expression.
    """
    gradients = integrated_gradients(network, crop, expression, device)
    evidence = blur(gradients[None], MAP_BLUR)[0].clamp(min=0)
    if evidence.sum() < MIN_EVIDENCE:
        return np.zeros(crop.shape[:2], np.float32)
    saliency: SaliencyMap = (evidence / evidence.max()).numpy()
    return saliency


def integrated_gradients(network: Network, crop: NDArray[np.uint8], expression: str, device: torch.device) -> Tensor:
    """Return how much each pixel adds to an expression's log-probability.

    Sundararajan, Taly & Yan, "Axiomatic Attribution for Deep Networks", 2017, section 3, equation 1. The baseline is
    the face blurred until no feature is left: it keeps colour and light, while a black one would call dark pixels
    unimportant. By completeness (their proposition 1) the sum is the log-probability of the face less that of the
    baseline, but for the error of the integral.

    Args:
        network: From images `(N, 3, S, S)`, RGB in [0, 255], to scores `(N, 7)` before the softmax; in evaluation mode.
        crop: The framed face, uint8 `(S, S, 3)`.
        expression: Whose evidence is sought, usually the predicted one.
        device: Where the network is.

    Returns:
        `(S, S)`, the sum over channels; negative where a pixel speaks against the expression.
    """
    # A copy, for torch warns of arrays that may not be written.
    images = torch.from_numpy(crop.copy()).permute(2, 0, 1)[None].float().to(device)
    method = IntegratedGradients(lambda batch: network(batch).log_softmax(1))
    gradients: Tensor = method.attribute(
        images,
        baselines=blur(images, BASELINE_BLUR),
        target=EXPRESSIONS.index(expression),
        n_steps=STEPS,
        internal_batch_size=BATCH_SIZE,
    )
    return gradients[0].sum(0).detach().float().cpu()


def blur(images: Tensor, fraction: float) -> Tensor:
    """Blur images `(..., S, S)` by a Gaussian whose standard deviation is this fraction of their side."""
    sigma = fraction * images.shape[-1]
    # Beyond three deviations a Gaussian's weights no longer count.
    size = 2 * round(3 * sigma) + 1
    smooth: Tensor = gaussian_blur(images, [size, size], [sigma, sigma])
    return smooth
