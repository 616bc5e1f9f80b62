"""The model as MLflow logs it: from code, so that pyfunc users can load it without pickle.

MLflow runs this file when it logs or loads the model; it is not imported by anything else.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel

from serving.scorer import Scorer, load


class CloseProbability(PythonModel):
    """Feature frame in, close probability out; the trees and the spec are read by our own loader."""

    scorer: Scorer

    def load_context(self, context: Any) -> None:
        """Load and verify the model's files."""
        self.scorer = load(Path(context.artifacts["model"]))

    def predict(self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.Series:  # noqa: ARG002
        """Return the probability of each row; MLflow has put the columns in the order of the signature."""
        return pd.Series(self.scorer.probabilities(model_input.to_numpy(np.float64)), name="probability")


set_model(CloseProbability())
