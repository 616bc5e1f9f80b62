"""The hazard of closing: what would have closed anyway, and what touches add to it.

At a moment, a lead whose score is s times that of an average lead of its age closes at the rate

    e · s · (exp(z · β) + x · θ)        e: the rhythm of the week; z: age, log s, long memory; x: exposure to channels

Touches add to the rate and do not multiply it, so a lead that needs nobody owes nothing to the fifth e-mail; and they
add in proportion to s. θ may be negative. Fitted by Newton's method on the Poisson likelihood of a point process, whose
information matrix is exact: a solver that stops early finds nothing where closes are rare.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from attribution.journeys import Floats

MOST_STEPS = 60
ENOUGH = 1e-3  # of log likelihood, gained by the last step
SMALLEST = 1e-9  # of a rate, as a share of the mean one


class Rows(NamedTuple):
    """Ends and sampled open time: r rows."""

    ends: int  # how many of the rows, the first ones, are ends
    days: Floats  # (r,) of open time, times the rhythm; 0 of an end
    scale: Floats  # (r,) s
    z: Floats  # (r, b)
    x: Floats  # (r, p)


class Fit(NamedTuple):
    """The hazard as fitted."""

    beta: Floats  # (b,)
    theta: Floats  # (p,)
    covariance: Floats  # (p, p) of theta
    log_likelihood: float

    def anyway(self, rows: Rows) -> Floats:
        """Rate without any touch (r,)."""
        return rows.scale * np.exp(rows.z @ self.beta)

    def added(self, rows: Rows) -> Floats:
        """Return what each exposure adds to the rate (r, p)."""
        return np.asarray(rows.scale[:, None] * rows.x * self.theta)


def fitted(rows: Rows) -> Fit:
    """Return the likeliest hazard."""
    b, p, n = rows.z.shape[1], rows.x.shape[1], rows.ends
    mean = n / rows.days.sum()
    beta, theta = np.zeros(b), np.zeros(p)
    beta += np.linalg.lstsq(rows.z[n:], np.full(len(rows.z) - n, np.log(mean)), rcond=None)[0]
    likelihood, mu, rate = _likelihood(rows, beta, theta, mean)
    information = np.eye(b + p)
    for _ in range(MOST_STEPS):
        J = np.concatenate([mu[:, None] * rows.z, rows.scale[:, None] * rows.x], axis=1)  # noqa: N806
        weight = rows.days / rate
        gradient = (J[:n] / rate[:n, None]).sum(axis=0) - rows.days @ J
        information = (J * weight[:, None]).T @ J
        step = np.linalg.lstsq(information, gradient, rcond=1e-12)[0]
        size = 1.0
        while True:
            new = _likelihood(rows, beta + size * step[:b], theta + size * step[b:], mean)
            if new[0] >= likelihood or size < 1e-3:  # noqa: PLR2004
                break
            size /= 2
        if new[0] < likelihood:
            break
        beta, theta = beta + size * step[:b], theta + size * step[b:]
        gained, (likelihood, mu, rate) = new[0] - likelihood, new
        if gained < ENOUGH:
            break
    return Fit(beta, theta, np.asarray(np.linalg.pinv(information)[b:, b:], np.float64), likelihood)


def _likelihood(rows: Rows, beta: Floats, theta: Floats, mean: float) -> tuple[float, Floats, Floats]:
    """Log likelihood, the rate without touches, and the rate; −∞ where a rate is not above 0."""
    mu = rows.scale * np.exp(np.clip(rows.z @ beta, -50, 50))
    rate = mu + rows.scale * (rows.x @ theta)
    if rate.min() <= SMALLEST * mean:
        return -np.inf, mu, rate
    return float(np.log(rate[: rows.ends]).sum() - rows.days @ rate), mu, rate
