"""Beta calibration, fitted to scores of rows that the scoring trees never saw.

Source: Kull, Silva Filho, Flach (2017), "Beta calibration", AISTATS.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from serving.scorer import Calibration

Floats = NDArray[np.float64]


def beta_calibration(margins: Floats, labels: Floats) -> Calibration:
    """Return the calibration of raw log-odds (n) to labels (n); both slopes are 0 or more."""
    terms = {"a": -np.logaddexp(0, -margins), "b": np.logaddexp(0, margins)}  # ln p and −ln(1 − p)
    while terms:
        # Newton, since lbfgs at its default tolerance stops early where wins are rare.
        fit = LogisticRegression(C=np.inf, solver="newton-cholesky", tol=1e-8).fit(
            np.stack([*terms.values()], 1), labels
        )
        slopes = dict(zip(terms, map(float, fit.coef_[0]), strict=True))
        worst = min(slopes, key=lambda name: slopes[name])
        if slopes[worst] >= 0:
            return Calibration(**{"a": 0.0, "b": 0.0, **slopes}, c=float(fit.intercept_[0]))
        del terms[worst]
    share = labels.mean()
    return Calibration(a=0.0, b=0.0, c=float(np.log(share / (1 - share))))
