"""Which images the model of a run was trained on, read from what the run logged as its inputs."""

from fer.tracking import store

import mlflow  # isort: skip  # after `store`, which sets what MLflow reads at import
from mlflow.exceptions import MlflowException  # isort: skip

CONTEXTS = {"training": 0, "pre-training, without labels": 1}
"""What inputs are logged as, and which part of the answer they belong to."""


def images_of_run(run_id: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return `<set>/<digest>` of the training splits a run and the runs it started from saw with labels, and without.

    Args:
        run_id: A run of `finetune` or `pretrain`; one that is gone saw nothing that is known.
    """
    store.connect()
    client, past = mlflow.MlflowClient(), set[str]()
    names: tuple[dict[str, None], dict[str, None]] = ({}, {})
    while run_id and run_id not in past:
        past.add(run_id)
        try:
            run = client.get_run(run_id)
        except MlflowException:
            break
        for item in run.inputs.dataset_inputs if run.inputs else ():
            context = next((tag.value for tag in item.tags if tag.key == "mlflow.data.context"), "")
            if context in CONTEXTS:
                names[CONTEXTS[context]][f"{item.dataset.name}/{item.dataset.digest}"] = None
        run_id = run.data.tags.get("fer.started_from", "")
    return tuple(names[0]), tuple(names[1])
