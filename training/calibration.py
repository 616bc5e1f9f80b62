"""Beta calibration, fitted to scores of rows that the scoring trees never saw.

Source: Kull, Silva Filho, Flach (2017), "Beta calibration", AISTATS. Added here: a normal prior on both slopes.
Where wins are rare no score comes near 1, the data say nothing of the slope there, and the maximum-likelihood
fit promises a lead a little above the rest that it closes for certain.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from serving.spec import Calibration, probability

Floats = NDArray[np.float64]
PRIOR, TRUST = np.array([1.0, 1.0, 0.0]), np.array([1.0, 1.0, 0.0])  # of a, b, c: mean; 1/variance, none for c


def beta_calibration(margins: Floats, labels: Floats, weights: Floats) -> Calibration:
    """Return the calibration of raw log-odds (n) to labels (n), rows weighted (n); both slopes are 0 or more."""
    terms = np.stack([-np.logaddexp(0, -margins), np.logaddexp(0, margins), np.ones(len(margins))])  # of a, b, c

    def loss(parameters: Floats) -> tuple[float, Floats]:
        log_odds, off = parameters @ terms, parameters - PRIOR
        nats = weights @ (np.logaddexp(0, log_odds) - labels * log_odds)
        gradient = terms @ (weights * (probability(log_odds) - labels)) + TRUST * off
        return float(nats + TRUST @ off**2 / 2), gradient

    bounds = [(0, None), (0, None), (None, None)]
    found = minimize(loss, PRIOR, jac=True, method="L-BFGS-B", bounds=bounds, options={"ftol": 1e-15, "gtol": 1e-7})
    return Calibration(*map(float, found.x))
