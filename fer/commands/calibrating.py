"""What `finetune` does to the chosen network before it is stored: fit its temperature and prior on validation."""

from dataclasses import replace

from torch import Tensor

from fer.calibration import calibration, fit_temperature, implied_prior, softened
from fer.data.batches import ImagePool
from fer.figures import reliability_figure
from fer.inference import outputs
from fer.models.backbones import Classifier
from fer.report import report
from fer.tracking.runs import TrackedRun


def calibrate(run: TrackedRun, classifier: Classifier, pool: ImagePool, members: Tensor, batch_size: int) -> None:
    """Put temperature and prior that suit the validation images into a classifier's specification.

    Args:
        run: Gets the temperature, and how far the probabilities can be believed before and after.
        classifier: In evaluation mode, on the pool's device.
        pool: The images.
        members: The validation images among them, int64 `(N,)`.
        batch_size: Images per step.
    """
    scores = outputs(classifier, pool, members, classifier.spec.image_size, batch_size).numpy()
    labels = pool.labels[members].numpy()
    temperature = fit_temperature(scores, labels)
    shares = softened(scores, temperature)
    prior = classifier.spec.training_prior
    if prior:
        prior = tuple(implied_prior(shares, labels, prior).tolist())
    classifier.spec = replace(classifier.spec, temperature=temperature, training_prior=prior)
    before, after = calibration(labels, softened(scores)), calibration(labels, shares)
    run.metrics({
        "calibration/temperature": temperature,
        **{f"validation/{key}": value for key, value in vars(after).items()},
        **{f"validation/uncalibrated/{key}": value for key, value in vars(before).items()},
    })  # fmt: skip
    title = f"Validation, on which the temperature {temperature:.3g} was fitted"
    run.figure(reliability_figure(report(labels, shares), title, before.ece), "calibration/reliability.png")
