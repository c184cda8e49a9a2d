"""Probes of frozen features `(N, d)`: nearest neighbours, a linear classifier, a measure of collapse, a t-SNE map."""

import math
import warnings

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

CHUNK = 1024
"""Images whose similarities to all training images are in memory together."""
LINEAR_ITERATIONS = 300
"""Iterations of the linear probe at most."""


def knn_accuracy(
    train_features: Tensor,
    train_labels: Tensor,
    features: Tensor,
    labels: Tensor,
    neighbours: int = 20,
    temperature: float = 0.07,
) -> float:
    """Return the accuracy of a vote of the nearest training images by cosine, each with weight exp(cosine / t).

    Wu et al. (2018), Unsupervised Feature Learning via Non-parametric Instance Discrimination, section 3.4.

    Args:
        train_features: `(T, d)`, on any device.
        train_labels: `(T,)` integers from 0 on.
        features: `(N, d)`, on the same device.
        labels: `(N,)`.
        neighbours: How many vote; with fewer training images all of them do.
        temperature: t, positive.
    """
    known = F.normalize(train_features.float(), dim=1)
    classes = int(train_labels.max()) + 1
    neighbours = min(neighbours, len(known))
    correct = 0
    queries = F.normalize(features.float(), dim=1)
    for batch, truth in zip(torch.split(queries, CHUNK), torch.split(labels, CHUNK), strict=True):
        cosines, indices = (batch @ known.T).topk(neighbours, dim=1)
        # Less 1, which changes no vote, so that nothing overflows at a low temperature.
        weights = ((cosines - 1) / temperature).exp()
        votes = weights.new_zeros(len(batch), classes)
        votes = votes.scatter_add(1, train_labels.to(batch.device)[indices], weights)
        correct += int((votes.argmax(1) == truth.to(batch.device)).sum())
    return correct / len(labels)


def linear_accuracy(train_features: Tensor, train_labels: Tensor, features: Tensor, labels: Tensor) -> float:
    """Return the accuracy of multinomial logistic regression on features standardised by the training images.

    Alain & Bengio (2017), Understanding intermediate layers using linear classifier probes.

    Args:
        train_features: `(T, d)`.
        train_labels: `(T,)` integers; with one class only, that class is predicted.
        features: `(N, d)`.
        labels: `(N,)`.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    targets = train_labels.cpu().numpy()
    truth = labels.cpu().numpy()
    # scikit-learn refuses to fit a single class.
    if len(np.unique(targets)) == 1:
        return float((truth == targets[0]).mean())
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=LINEAR_ITERATIONS))
    with warnings.catch_warnings():
        # A regression cut short is a probe still.
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(_array(train_features), targets)
    return float((model.predict(_array(features)) == truth).mean())


def feature_std(features: Tensor) -> Tensor:
    """Measure how evenly normalised features fill their dimensions, in [0, 1], as a tensor that stays on its device.

    The standard deviation of each dimension over the images, averaged over the dimensions, times the root of their
    number: about 1 for directions spread evenly, 0 when all images have one. Chen & He (2021), Exploring Simple Siamese
    Representation Learning, section 4.1 and figure 2.

    Args:
        features: `(N, d)`.
    """
    unit = F.normalize(features.float(), dim=1)
    return unit.std(dim=0, correction=0).mean() * math.sqrt(features.shape[1])


def feature_map(features: Tensor, seed: int) -> NDArray[np.float64]:
    """Map features to points in the plane, near ones for similar features: t-SNE of 50 principal components.

    van der Maaten & Hinton (2008), Visualizing Data using t-SNE. 5,000 images take about half a minute. Fewer than five
    images are laid out by their first two principal components; equal ones all lie at the origin.

    Args:
        features: `(N, d)`.
        seed: Of the random numbers; equal seeds give equal maps.

    Returns:
        `(N, 2)`; the axes have no meaning.
    """
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    array = _array(features)
    if len(array) < 2 or not np.ptp(array, axis=0).any():
        return np.zeros((len(array), 2))
    components = PCA(min(50, *array.shape), random_state=seed).fit_transform(array)
    if components.shape[1] < 2:
        components = np.pad(components, ((0, 0), (0, 1)))
    if len(array) < 5:
        return np.asarray(components[:, :2], dtype=np.float64)
    # The perplexity must be less than the number of images.
    perplexity = min(30.0, (len(array) - 1) / 3)
    points = TSNE(perplexity=perplexity, random_state=seed).fit_transform(components)
    return np.asarray(points, dtype=np.float64)


def _array(features: Tensor) -> NDArray[np.float64]:
    return features.detach().double().cpu().numpy()
