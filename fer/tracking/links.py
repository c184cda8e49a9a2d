"""Give the addresses of MLflow's pages, all in its training pages, since it opens in its GenAI pages otherwise."""

from urllib.parse import quote

from fer.errors import without_login

TRAINING_PAGES = "workflowType=machine_learning"
"""Part of the address that opens MLflow's training pages."""


def ui_command(address: str) -> str:
    """Return the command that shows a store in the browser, or an empty text for a server that runs already.

    An address with a password is not spelled out: whoever gave it has it in the environment.
    """
    if address.startswith("http"):
        return ""
    shown = address if without_login(address) == address else '"$MLFLOW_TRACKING_URI"'
    return f"mlflow ui --backend-store-uri {shown}"


def page(address: str, experiment_id: str, view: str = "", run_id: str = "", artifact: str = "") -> str:
    """Return the address of an experiment's runs, or of one of them.

    Args:
        address: The store.
        experiment_id: The experiment.
        view: Key of a prepared view of the runs.
        run_id: The run that is shown instead where no view is given.
        artifact: The artifact of the run that is shown.
    """
    if run_id and not view:
        return f"{_server(address)}/{run_link(experiment_id, run_id, artifact)}"
    shared = f"&viewStateShareKey={view}" if view else ""
    return f"{_server(address)}/#/experiments/{experiment_id}/runs?{TRAINING_PAGES}{shared}"


def run_link(experiment_id: str, run_id: str, artifact: str = "") -> str:
    """Return a link that leads to a run, or to one of its artifacts, from a description on any of MLflow's pages."""
    # Relative, because nobody knows under which address the pages will be opened.
    path = f"{run_id}/artifacts/{quote(artifact)}" if artifact else run_id
    return f"#/experiments/{experiment_id}/runs/{path}?{TRAINING_PAGES}"


def model_link(experiment_id: str, model_id: str) -> str:
    """Return a link that leads to the artifacts of a logged model, likewise; MLflow has no address for one of them."""
    return f"#/experiments/{experiment_id}/models/{model_id}/artifacts?{TRAINING_PAGES}"


def version_page(address: str, name: str, version: str) -> str:
    """Return the address of the page of a registered version."""
    return f"{_server(address)}/#/models/{name}/versions/{version}?{TRAINING_PAGES}"


def where(address: str, link: str) -> str:
    """Return the lines that lead a person to a page, with the command that shows it where no server runs."""
    command = ui_command(address)
    return f"start the MLflow interface with\n  {command}\nand open\n  {link}" if command else f"open\n  {link}"


def _server(address: str) -> str:
    # Pages that others read hold these links.
    return without_login(address).rstrip("/") if address.startswith("http") else "http://127.0.0.1:5000"
