"""Find runs with test figures, and read what a comparison needs of them."""

import re
from collections.abc import Collection, Iterable, Sequence

import mlflow
from mlflow.entities import Run
from mlflow.exceptions import MlflowException

from fer.comparison.runs import Predictions, RunFigures, read_predictions
from fer.config.commands import with_added
from fer.errors import ConfigError, quoted, shortened, without_login
from fer.evaluation.names import TRAINING_LOSS, VALIDATION_ACCURACY, flatten, present_name, sets_with_figures
from fer.tracking import links, names, store
from fer.tracking.names import CONFIG_FILE, STAGES_FILE, dataset_tags

TESTING = ("finetune", "evaluate")
"""Commands whose runs hold test figures."""
Tested = tuple[Run, ...]
"""A run with test figures, and the later tests of its model that an experiment made."""


class Runs:
    """The runs of the store that have test figures.

    Attributes:
        address: The store's address.
        sets: Names of the data sets whose figures count; none for all.
    """

    def __init__(self, sets: Iterable[str] = ()) -> None:
        self.address = store.connect()
        self.sets = list(sets)
        self._client = mlflow.MlflowClient()

    def named(self, word: str) -> list[Tested]:
        """Return the runs a word means: an id, the beginning of a single id, or a name, which several may share.

        A run of `experiment` stands for the trainings it made.

        Raises:
            ConfigError: The word means no run, or one without test figures, or is the beginning of several ids.
        """
        runs = self._with_id_or_name(word)
        if not runs:
            raise ConfigError(
                f"unknown run {quoted(word)}: no run in {without_login(self.address)} has this id or name"
            )
        # MLflow gives the latest first; a comparison shows runs in the order they were made.
        tested = self._expand_all(reversed(runs))
        states = ", ".join(sorted({run.info.status for run in runs}))
        return _require(tested, f"run {quoted(word)} ({states})")

    def of_experiment(self, word: str) -> list[Tested]:
        """Return the trainings of the latest run of `experiment` with this name, or of the one with this id.

        The name may also be that of an MLflow experiment, of which all runs with test figures are then meant.

        Raises:
            ConfigError: There is none, or none of its runs has test figures.
        """
        runs = self._with_id_or_name(word)
        parents = [run for run in runs if _command(run) == "experiment"]
        named = self._client.get_experiment_by_name(word)
        if parents:
            tested = self._expand(parents[0])
        elif named:
            tested = self._only_tested(store.search_runs("", [named.experiment_id]))
        else:
            raise ConfigError(f"unknown experiment {quoted(word)}: no run in {without_login(self.address)} is of it")
        return _require(tested, f"experiment {quoted(word)}")

    def matching(self, filter_string: str) -> list[Tested]:
        """Return the runs with test figures that an MLflow search filter such as `params.lr = '0.001'` selects.

        Raises:
            ConfigError: It is no filter, or selects no such run.
        """
        shown = f"filter {quoted(filter_string)}"
        try:
            runs = store.search_runs(filter_string)
        except MlflowException as error:
            reason = shortened(str(error), 200)
            raise ConfigError(f"{shown} is no MLflow search filter: {reason}") from None
        return _require(self._only_tested(runs), shown)

    def read(self, tested: Tested) -> RunFigures:
        """Return what a comparison needs of a run, with the later tests of its model taken for its own."""
        run = tested[0]
        tags = run.data.tags
        metrics: dict[str, float] = {}
        predictions: dict[str, Predictions] = {}
        tested_digests: dict[str, str] = {}
        contamination: dict[str, str] = {}
        # A later test replaces the figures of an earlier one on the same set.
        for test in tested:
            metrics |= logged_figures(test, self.sets)
            predictions |= self._predictions(test)
            tested_digests |= dataset_tags(test.data.tags, names.TESTED_DIGEST)
            contamination |= dataset_tags(test.data.tags, names.CONTAMINATION)
        config = store.read_json_artifact(run.info.run_id, CONFIG_FILE, dict)
        logged = run.data.metrics
        curves = [key for key in (TRAINING_LOSS, VALIDATION_ACCURACY) if key in logged]
        return RunFigures(
            id=run.info.run_id,
            name=run.info.run_name,
            # Runs of before and after an option was added compare as equal where they were trained alike.
            config=with_added(_command(run), config) if config else {},
            configuration=tags.get(names.CONFIGURATION, ""),
            experiment=tags.get(names.EXPERIMENT, ""),
            reproduces=tags.get(names.REPRODUCES, ""),
            reported=_is_reported(run),
            training_digests=dataset_tags(tags, names.DIGEST),
            tested_digests=tested_digests,
            contamination=contamination,
            metrics=metrics,
            predictions=predictions,
            minutes=_minutes(run),
            curves={key: self._curve(run.info.run_id, key) for key in curves},
        )

    def pages(self, tested: Iterable[Tested]) -> dict[str, str]:
        """Return the addresses of the runs' pages in MLflow, by the runs' ids."""
        infos = [run.info for run, *_ in tested]
        return {info.run_id: links.page(self.address, info.experiment_id, run_id=info.run_id) for info in infos}

    def _with_id_or_name(self, word: str) -> list[Run]:
        if re.fullmatch(r"[0-9a-f]{4,32}", word):
            runs = store.search_runs(f"attributes.run_id LIKE '{word}%'")
            if len(runs) > 1:
                raise ConfigError(f"run {quoted(word)} is the beginning of {len(runs)} ids: write more of it")
            if runs:
                return runs
        # MLflow's filters know no escapes, but two kinds of quotes.
        quote = '"' if "'" in word else "'"
        return [] if quote in word else store.search_runs(f"attributes.run_name = {quote}{word}{quote}")

    def _only_tested(self, runs: Sequence[Run]) -> list[Tested]:
        """Return the runs with test figures, the earliest first."""
        return [(run,) for run in reversed(runs) if self._is_tested(run)]

    def _is_tested(self, run: Run) -> bool:
        # A run of `experiment` or `main` has figures too, which are those of its stages.
        is_test = _command(run) in TESTING or _is_reported(run)
        return is_test and bool(self._tested_sets(run))

    def _tested_sets(self, run: Run) -> list[str]:
        tested = sets_with_figures(run.data.metrics)
        return [name for name in tested if name in self.sets] if self.sets else tested

    def _expand_all(self, runs: Iterable[Run]) -> list[Tested]:
        tested: list[Tested] = []
        for run in runs:
            tested += self._expand(run)
        return tested

    def _expand(self, run: Run) -> list[Tested]:
        """Return a run, or the trainings of a run of `experiment`, each with the tests made after it."""
        if _command(run) != "experiment":
            return [(run,)] if self._is_tested(run) else []
        stages = store.read_json_artifact(run.info.run_id, STAGES_FILE, list)
        if stages is None:
            # A run of all experiments has a run of each below it; a stopped one its trainings.
            children = store.search_runs(f"tags.`mlflow.parentRunId` = '{run.info.run_id}'")
            return self._expand_all(reversed(children))
        runs = [self._client.get_run(stage["run_id"]) for stage in stages]
        groups = []
        for training in runs:
            if _command(training) == "finetune":
                address = f"runs:/{training.info.run_id}"
                tests = [run for run in runs if _tested_model(run) == address]
                groups.append((training, *tests))
        return [group for group in groups if any(map(self._is_tested, group))]

    def _predictions(self, run: Run) -> dict[str, Predictions]:
        """Return a run's stored predictions by set; a reported run has figures without them."""
        predictions: dict[str, Predictions] = {}
        if _is_reported(run):
            return predictions
        for name in self._tested_sets(run):
            path = names.evaluation_path(name, names.PREDICTIONS_FILE)
            text = store.read_artifact(run.info.run_id, path)
            if text is not None:
                source = f"{path} of run {run.info.run_id}"
                predictions[name] = read_predictions(text, source)
        return predictions

    def _curve(self, run_id: str, key: str) -> tuple[tuple[int, float], ...]:
        points = {point.step: point.value for point in self._client.get_metric_history(run_id, key)}
        return tuple(sorted(points.items()))


def logged_figures(run: Run, sets: Collection[str] = ()) -> dict[str, float]:
    """Return all figures of a run by name, such as `kdef/frontal/fear_low`: its metrics, and what its reports hold.

    Args:
        run: The run.
        sets: Data sets whose reports are read; none for all.

    Raises:
        DataError: A report is damaged.
    """
    figures = dict(run.data.metrics)
    for dataset in dataset_tags(run.data.tags, names.TESTED_DIGEST):
        if sets and dataset not in sets:
            continue
        path = names.evaluation_path(dataset, names.REPORT_FILE)
        report = store.read_json_artifact(run.info.run_id, path, dict) or {}
        # Metrics are rounded, and few.
        figures |= flatten(report, f"{dataset}/")
    return {present_name(name): value for name, value in figures.items()}


def _require(tested: list[Tested], what: str) -> list[Tested]:
    """Return runs with test figures, of which there must be one.

    Raises:
        ConfigError: There is none.
    """
    if not tested:
        raise ConfigError(f"{what} gives no test figures: name runs of finetune or evaluate")
    return tested


def _command(run: Run) -> str:
    return str(run.data.tags.get(names.COMMAND, ""))


def _is_reported(run: Run) -> bool:
    return names.REPORTED in run.data.tags


def _tested_model(run: Run) -> str:
    """Return the address of the model that a run of `evaluate` tested; of other commands nothing."""
    if _command(run) != "evaluate":
        return ""
    return names.param(names.MODEL_OPTION, run.data.params, run.data.tags)


def _minutes(run: Run) -> float | None:
    if _is_reported(run):
        return run.data.metrics.get("minutes")
    # A continued run's clock shows its last part only.
    if _command(run) != "finetune" or run.info.end_time is None or names.RESUMED_FROM in run.data.tags:
        return None
    return float(run.info.end_time - run.info.start_time) / 60_000
