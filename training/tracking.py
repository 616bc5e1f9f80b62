"""MLflow's record of a training run: parameters, metrics, plot, lake versions, dependencies, model and alias.

MLflow is a record, not an authority: what serves is decided by the pointer in the workspace's ``models``.
``MLFLOW_TRACKING_URI`` points a team at its server; without it the record is SQLite in the workspace.
"""

from __future__ import annotations

import importlib.metadata
import logging
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

STORE = "mlflow.db"  # in the workspace
NAME = "touchstone"  # of the experiment and of the registered model; a further goal adds its own
REQUIREMENTS = ("mlflow", "numpy", "pandas", "pyarrow", "duckdb", "deltalake", "numba", "pydantic")
ROOMS = ("features", "serving")  # what a logged model needs of ours


class UnrecordedError(Exception):
    """MLflow could not be asked, or refused; what was to be recorded is done all the same."""


@dataclass(frozen=True)
class Record:
    """What is recorded of one training run."""

    model: Path  # folder of the saved model
    features: Sequence[str]  # their names, in order
    parameters: Mapping[str, Any]
    metrics: Mapping[str, float | None]
    lake_versions: Mapping[str, int]
    plot: Figure | None
    pages: Mapping[str, str]  # the model card
    champion: bool
    goal: str = ""  # one of [goals], whose model is registered apart


def record(workspace: Path, run: Record) -> str:
    """Record a finished training run, register its model, and return the run's id.

    Raises:
        UnrecordedError: when MLflow cannot be reached or refuses.

    """
    import mlflow

    logging.getLogger("mlflow").setLevel(logging.WARNING)
    with _store(workspace) as artifacts:
        with mlflow.start_run(experiment_id=_experiment(artifacts), run_name=run.model.name) as active:
            versions = {f"lake.{table}": version for table, version in run.lake_versions.items()}
            mlflow.log_params({**run.parameters, **versions})
            mlflow.log_metrics({name: value for name, value in run.metrics.items() if value is not None})
            if run.plot is not None:
                mlflow.log_figure(run.plot, "calibration.png")
            for name, text in {**run.pages, "dependencies.txt": "\n".join(_installed())}.items():
                mlflow.log_text(text, name)
            model_uri = _log_model(run)
        with redirect_stderr(StringIO()):  # where it says that it registered the model
            name = f"{NAME}-{run.goal}" if run.goal else NAME
            registered = mlflow.register_model(model_uri, name, tags={"touchstone_version": run.model.name})
        alias = "champion" if run.champion else "challenger"
        mlflow.MlflowClient().set_registered_model_alias(name, alias, registered.version)
        return str(active.info.run_id)


def sweep(workspace: Path) -> int:
    """End the runs that a killed process left running, and return how many; without a record there are none."""
    import mlflow

    if "MLFLOW_TRACKING_URI" in os.environ or not (workspace / STORE).exists():
        return 0  # on a team's server a run may be another's
    try:
        with _store(workspace):
            client = mlflow.MlflowClient()
            places = [found.experiment_id for found in client.search_experiments()]
            left = client.search_runs(places, "attributes.status = 'RUNNING'")
            for run in left:
                client.set_terminated(run.info.run_id, "KILLED")
            return len(left)
    except UnrecordedError:
        return 0  # a record that cannot be swept stops nobody


def point(workspace: Path, version: str) -> None:
    """Give a version the alias ``champion``, and the one that had it the alias ``challenger``.

    Raises:
        UnrecordedError: when MLflow cannot be reached, refuses, or has no record of the version.

    """
    import mlflow

    if "MLFLOW_TRACKING_URI" not in os.environ and not (workspace / STORE).exists():
        raise UnrecordedError(f"There is no record in {workspace / STORE}, so that no alias was set.")
    with _store(workspace):
        client = mlflow.MlflowClient()
        known = client.search_model_versions(f"name LIKE '{NAME}%'")
        found = next((one for one in known if one.tags.get("touchstone_version") == version), None)
        if found is None:
            raise UnrecordedError(f"MLflow has no record of {version}; its alias champion stays where it is.")
        name, number = found.name, found.version
        aliases = client.get_registered_model(name).aliases
        client.set_registered_model_alias(name, "champion", number)
        if aliases.get("champion", number) != number:
            client.set_registered_model_alias(name, "challenger", aliases["champion"])
        elif aliases.get("challenger") == number:
            client.delete_registered_model_alias(name, "challenger")


def _experiment(artifacts: str | None) -> str:
    """Return the id of the experiment that keeps its artifacts there.

    An experiment keeps its place for ever, so a workspace that was moved gets another one.
    """
    import mlflow

    found = mlflow.get_experiment_by_name(NAME)
    moved = found is not None and artifacts not in (None, found.artifact_location)
    name = f"{NAME} in {artifacts}" if moved else NAME
    found = mlflow.get_experiment_by_name(name)
    return str(found.experiment_id if found else mlflow.create_experiment(name, artifacts))


def _log_model(run: Record) -> str:
    import mlflow
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, Schema

    columns = Schema([ColSpec(DataType.double, name) for name in run.features])
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*An input example was not provided", module="mlflow.pyfunc")
        logged = mlflow.pyfunc.log_model(
            name="model",
            python_model=str(Path(__file__).with_name("pyfunc.py")),
            artifacts={"model": str(run.model)},
            signature=ModelSignature(inputs=columns, outputs=Schema([ColSpec(DataType.double, "probability")])),
            pip_requirements=[f"{name}=={importlib.metadata.version(name)}" for name in REQUIREMENTS],
            code_paths=[str(Path(__file__).parents[1] / room) for room in ROOMS],
        )
    return str(logged.model_uri)


@contextmanager
def _store(workspace: Path) -> Iterator[str | None]:
    """Point MLflow at the team's server, or at the workspace for as long as it is needed.

    Yields where artifacts of a new experiment go; None leaves it to the server.
    """
    import mlflow
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    ours = "MLFLOW_TRACKING_URI" not in os.environ
    try:
        if ours:
            mlflow.set_tracking_uri(f"sqlite:///{workspace.resolve() / STORE}")
        yield (workspace.resolve() / "mlflow-artifacts").as_uri() if ours else None
    except (MlflowException, SQLAlchemyError, OSError) as error:
        said = str(error).partition("\n")[0]
        raise UnrecordedError(f"MLflow at {mlflow.get_tracking_uri()} did not record it: {said}") from None
    finally:
        if ours:  # MLflow keeps the address in the environment; another workspace must not inherit it
            mlflow.set_tracking_uri(None)  # type: ignore[arg-type]  # None is how it forgets


def _installed() -> list[str]:
    return sorted({f"{d.name}=={d.version}" for d in importlib.metadata.distributions()}, key=str.lower)
