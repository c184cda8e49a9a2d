"""Where on a face an answer comes from: integrated gradients from the blurred face.

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
from fer.prediction.annotate import CARDS
from fer.prediction.recogniser import RecognisedFace, Recogniser

STEPS, BATCH = 32, 16
"""Points of the integral, and how many of them are computed at a time."""
BASELINE, SMOOTH = 1 / 8, 1 / 24
"""Deviations of the Gaussians that blur the baseline and the map, as shares of the face's side."""
LEAST = 1e-3
"""Evidence in all, in log-probability, below which a map would show rounding."""


def attribution(
    network: Callable[[Tensor], Tensor], crop: NDArray[np.uint8], expression: str, device: torch.device
) -> Tensor:
    """Return how much each pixel adds to an expression's log-probability, by integrated gradients.

    Sundararajan, Taly & Yan, "Axiomatic Attribution for Deep Networks", 2017, section 3, equation 1. The baseline is
    the face blurred until no feature is left: it keeps colour and light, while a black one would call dark pixels
    unimportant. By completeness (their proposition 1) the sum is the log-probability of the face less that of the
    baseline, but for the error of the integral.

    Args:
        network: From images `(N, 3, S, S)`, RGB in [0, 255], to scores `(N, 7)` before the softmax; in evaluation mode.
        crop: The framed face, uint8 `(S, S, 3)`.
        expression: Whose evidence is sought, usually the answer.
        device: Where the network is.

    Returns:
        `(S, S)`, the sum over channels; negative where a pixel speaks against the expression.
    """
    images = torch.from_numpy(crop.copy()).permute(2, 0, 1)[None].float().to(device)
    found: Tensor = IntegratedGradients(lambda changed: network(changed).log_softmax(1)).attribute(
        images,
        baselines=blurred(images, BASELINE),
        target=EXPRESSIONS.index(expression),
        n_steps=STEPS,
        internal_batch_size=BATCH,
    )
    return found[0].sum(0).detach().float().cpu()


def saliency(
    network: Callable[[Tensor], Tensor], crop: NDArray[np.uint8], expression: str, device: torch.device
) -> NDArray[np.float32]:
    """Return where on a face the evidence for an expression lies: `attribution`, smoothed, what is positive of it.

    The largest value is 1, so maps of two faces compare in place, not in strength.

    Args:
        network: As of `attribution`.
        crop: As of `attribution`.
        expression: As of `attribution`.
        device: As of `attribution`.

    Returns:
        float32 `(S, S)` in [0, 1]; all 0 where no pixel speaks for the expression.
    """
    evidence = blurred(attribution(network, crop, expression, device)[None], SMOOTH)[0].clamp(min=0)
    if evidence.sum() < LEAST:
        return np.zeros(crop.shape[:2], np.float32)
    shown: NDArray[np.float32] = (evidence / evidence.max()).numpy()
    return shown


def explain_faces(recogniser: Recogniser, faces: Sequence[RecognisedFace]) -> list[NDArray[np.float32]]:
    """Return the saliency of the faces that get a card, the first `CARDS`.

    The evidence is that for the probabilities shown, so scores are divided by the model's temperature.
    """
    device = next(recogniser.network.parameters()).device

    def scores(images: Tensor) -> Tensor:
        logits: Tensor = recogniser(images)
        return logits / recogniser.spec.temperature

    return [saliency(scores, face.crop, face.expression, device) for face in faces[:CARDS]]


def blurred(images: Tensor, share: float) -> Tensor:
    """Return images `(..., S, S)` blurred by a Gaussian whose deviation is this share of their side."""
    deviation = share * images.shape[-1]
    size = 2 * round(3 * deviation) + 1
    smooth: Tensor = gaussian_blur(images, [size, size], [deviation, deviation])
    return smooth
