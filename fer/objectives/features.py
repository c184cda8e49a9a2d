"""Features `(N, d)`: of several views of each image, and probes of frozen ones.

The probes are nearest neighbours, a linear classifier, two measures that need no labels and a t-SNE map.
"""

import math
import warnings
from collections.abc import Sequence
from itertools import groupby

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

CHUNK = 1024
"""Images whose similarities to all training images are in memory together."""
LINEAR_ITERATIONS = 300
"""Iterations of the linear probe at most."""


def encode_views(network: nn.Module, views: Sequence[Tensor]) -> Tensor:
    """Encode all views, those of equal neighbouring sizes as one batch.

    One large batch is faster than several small ones, and its batch norm sees all views alike.

    Args:
        network: Maps `(N, 3, H, W)` to `(N, features)`.
        views: V batches `(N, 3, H, W)` of views of the same N images, RGB in [0, 255].

    Returns:
        `(V * N, features)`, view by view.
    """
    # Only neighbours are joined, so that the order of the views stays.
    by_size = groupby(views, key=lambda view: view.shape[-2:])
    features = []
    for _, same_size in by_size:
        batch = torch.cat(list(same_size))
        features.append(network(batch))
    return torch.cat(features)


def disabled_autocast(tensor: Tensor) -> torch.autocast:
    """Return a context in which float32 tensors on this one's device are computed in float32.

    Losses need it: the bf16 that autocast gives matrix products has 8 bits, so cosines near 1 would come in steps of
    0.004, which a temperature of 0.1 multiplies by ten.
    """
    return torch.autocast(tensor.device.type, enabled=False)


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
    query_chunks = torch.split(queries, CHUNK)
    label_chunks = torch.split(labels, CHUNK)
    for batch, truth in zip(query_chunks, label_chunks, strict=True):
        cosines, indices = (batch @ known.T).topk(neighbours, dim=1)
        # Less 1, which changes no vote, so that nothing overflows at a low temperature.
        weights = ((cosines - 1) / temperature).exp()
        votes = weights.new_zeros(len(batch), classes)
        candidates = train_labels.to(batch.device)[indices]
        votes = votes.scatter_add(1, candidates, weights)
        hits = votes.argmax(1) == truth.to(batch.device)
        correct += int(hits.sum())
    return correct / len(labels)


def linear_accuracy(
    train_features: Tensor,
    train_labels: Tensor,
    features: Tensor,
    labels: Tensor,
) -> float:
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
    regression = LogisticRegression(max_iter=LINEAR_ITERATIONS)
    model = make_pipeline(StandardScaler(), regression)
    with warnings.catch_warnings():
        # A regression cut short is a probe still.
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(_array(train_features), targets)
    predicted = model.predict(_array(features))
    return float((predicted == truth).mean())


def feature_std(features: Tensor) -> Tensor:
    """Measure how evenly normalised features fill their dimensions, in [0, 1], as a tensor that stays on its device.

    The standard deviation of each dimension over the images, averaged over the dimensions, times the root of their
    number: about 1 for directions spread evenly, 0 when all images have one. Chen & He (2021), Exploring Simple Siamese
    Representation Learning, section 4.1 and figure 2.

    Args:
        features: `(N, d)`.
    """
    unit = F.normalize(features.float(), dim=1)
    deviations = unit.std(dim=0, correction=0)
    return deviations.mean() * math.sqrt(features.shape[1])


def rank_me(features: Tensor) -> float:
    """Return RankMe, the effective rank of features: exp of the entropy of their normalised singular values.

    Between 1, when all images have one direction, and min(N, d), when all directions are used alike; 0 for features of
    zero. Garrido et al. (2023), RankMe: Assessing the Downstream Performance of Pretrained Self-Supervised
    Representations by Their Rank, equation 1, without the constant that only keeps the logarithm from 0. Encoders are
    comparable by it on the same images, whose number bounds it.

    Args:
        features: `(N, d)`, on any device.
    """
    matrix = features.detach().double()
    # The squares of the singular values: of the smaller product, which is several times faster than all of them.
    product = matrix @ matrix.T if len(matrix) < matrix.shape[1] else matrix.T @ matrix
    singular = torch.linalg.eigvalsh(product).clamp(min=0).sqrt()
    total = singular.sum()
    if not total:
        return 0.0
    return float(torch.special.entr(singular / total).sum().exp())


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
    # Distances in thousands of dimensions are slow and say little more.
    projection = PCA(min(50, *array.shape), random_state=seed)
    components = projection.fit_transform(array)
    if components.shape[1] < 2:
        components = np.pad(components, ((0, 0), (0, 1)))
    if len(array) < 5:
        return np.asarray(components[:, :2], dtype=np.float64)
    # The perplexity must be less than the number of images.
    perplexity = min(30.0, (len(array) - 1) / 3)
    embedding = TSNE(perplexity=perplexity, random_state=seed)
    points = embedding.fit_transform(components)
    return np.asarray(points, dtype=np.float64)


def _array(features: Tensor) -> NDArray[np.float64]:
    return features.detach().double().cpu().numpy()
