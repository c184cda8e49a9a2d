import pytest

from fer.tracking import links
from fer.tracking.links import model_link, run_link


def test_links_open_the_training_pages():
    address = "sqlite:////data/mlflow.db"
    assert links.page(address, "3") == "http://127.0.0.1:5000/#/experiments/3/runs?workflowType=machine_learning"
    assert address in links.ui_command(address)
    assert links.page("http://server:8080/", "3").startswith("http://server:8080/#/experiments/3/runs")
    assert links.ui_command("http://server:8080") == ""
    view = links.page(address, "3", view="training-curves", run_id="ab")
    assert view == f"{links.page(address, '3')}&viewStateShareKey=training-curves"
    start = "http://127.0.0.1:5000/#/experiments/3/runs/ab"
    assert links.page(address, "3", run_id="ab") == f"{start}?workflowType=machine_learning"
    report = links.page(address, "3", run_id="ab", artifact="comparison/report.html")
    assert report == f"{start}/artifacts/comparison/report.html?workflowType=machine_learning"


def test_links_and_commands_hold_no_password():
    assert links.page("https://user:se@cret@server:8080", "3").startswith("https://server:8080/#/experiments/3")
    database = "postgresql://user:secret@server/mlflow"
    assert links.ui_command(database) == 'mlflow ui --backend-store-uri "$MLFLOW_TRACKING_URI"'
    assert links.ui_command("postgresql://server/mlflow").endswith(" postgresql://server/mlflow")


def test_one_link_is_printed_with_the_command_that_shows_it():
    assert links.where("http://server:8080", "http://server:8080/#/x") == "open\n  http://server:8080/#/x"
    local = links.where("sqlite:////data/mlflow.db", "http://127.0.0.1:5000/#/x")
    assert local.splitlines()[1:] == [
        "  mlflow ui --backend-store-uri sqlite:////data/mlflow.db",
        "and open",
        "  http://127.0.0.1:5000/#/x",
    ]


@pytest.mark.parametrize(
    ("link", "address"),
    [
        (run_link("1", "ab"), "#/experiments/1/runs/ab?workflowType=machine_learning"),
        (
            run_link("1", "ab", "a/report.html"),
            "#/experiments/1/runs/ab/artifacts/a/report.html?workflowType=machine_learning",
        ),
        (model_link("1", "m-2"), "#/experiments/1/models/m-2/artifacts?workflowType=machine_learning"),
    ],
)
def test_links_lead_into_the_training_pages(link, address):
    assert link == address
