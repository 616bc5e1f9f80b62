"""The hazard of closing: what would have closed anyway, and what touches add to it.

At a moment, a lead whose score is s times that of an average lead of its age closes at the rate

    e · s · (exp(z · β) + x · θ)        e: the rhythm of the week; z: age, log s, …; x: exposure to channels

Touches add to the rate and do not multiply it, so a lead that needs nobody owes nothing to the fifth e-mail; and they
add in proportion to s. θ may be negative: touches that take away leave at least something, so below a ``FLOOR`` of the
rate without touches it fades out instead of becoming negative. Fitted by Newton's method on the Poisson likelihood of a
point process, with its expected information: a solver that stops early finds nothing where closes are rare. What is
known of coefficients beforehand is a normal prior about 0.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from attribution.journeys import Floats

MOST_STEPS = 60
ENOUGH = 1e-3  # of log likelihood, gained by the last step
SHORTEST = 1e-4  # part of a step that is tried
FLOOR = 0.2  # of the rate without touches, from which on negative effects fade out


class Rows(NamedTuple):
    """Ends and sampled open time: r rows."""

    ends: int  # how many of the rows, the first ones, are ends
    days: Floats  # (r,) of open time, times the rhythm e; 0 of an end
    scale: Floats  # (r,) s
    z: Floats  # (r, b) weights over ages, log s, and what else multiplies the rate without touches
    x: Floats  # (r, p) exposure; what it stands for is the caller's (``adjusted.Model``)
    precision: Floats  # (b + p,) of the prior of each coefficient, β first; 0 if nothing is known of it


class Fit(NamedTuple):
    """The hazard as fitted."""

    beta: Floats  # (b,)
    theta: Floats  # (p,)
    covariance: Floats  # (p, p) of theta, the prior counted in

    def rate(self, rows: Rows) -> Floats:
        """Return how many end a day with all touches (r,), as on an average day of the week."""
        return _rates(rows, self.beta, self.theta)[1]

    def per_unit(self, rows: Rows) -> Floats:
        """Return what a unit of effect adds to the rate by unit of exposure (r,); all of it adds up to the rate."""
        mu, rate, slope = _rates(rows, self.beta, self.theta)
        added = rows.scale * (rows.x @ self.theta)
        whole = slope == 1
        return np.where(whole, rows.scale, rows.scale * (rate - mu) / np.where(whole, 1, added))

    def part_per_unit(self, rows: Rows) -> Floats:
        """Return the same as a part of the rate (r,), or of its floor, if it is below.

        Ends that are next to impossible happen, and would be a million times what a channel adds.
        """
        mu, rate, _ = _rates(rows, self.beta, self.theta)
        return np.asarray(self.per_unit(rows) / np.maximum(rate, FLOOR * mu))


def fitted(rows: Rows) -> Fit:
    """Return the likeliest hazard; there must be an end, and open time."""
    b, p, n = rows.z.shape[1], rows.x.shape[1], rows.ends
    mean = n / rows.days.sum()
    beta, theta = np.zeros(b), np.zeros(p)
    beta += np.linalg.lstsq(rows.z[n:], np.full(len(rows.z) - n, np.log(mean)), rcond=None)[0]
    likelihood, information = _likelihood(rows, beta, theta), np.eye(b + p)
    for _ in range(MOST_STEPS):
        _, rate, slope = _rates(rows, beta, theta)
        J = np.concatenate(  # noqa: N806
            [
                (rate - slope * (rows.scale * (rows.x @ theta)))[:, None] * rows.z,
                (slope * rows.scale)[:, None] * rows.x,
            ],
            axis=1,
        )
        gradient = (J[:n] / rate[:n, None]).sum(axis=0) - rows.days @ J - rows.precision * np.append(beta, theta)
        information = (J * (rows.days / rate)[:, None]).T @ J + np.diag(rows.precision)
        step = np.linalg.lstsq(information, gradient, rcond=1e-12)[0]
        size, new = 1.0, -np.inf
        while new < likelihood and size > SHORTEST:
            new = _likelihood(rows, beta + size * step[:b], theta + size * step[b:])
            size /= 2
        if new < likelihood:
            break
        beta, theta = beta + 2 * size * step[:b], theta + 2 * size * step[b:]
        gained, likelihood = new - likelihood, new
        if gained < ENOUGH:
            break
    return Fit(beta, theta, np.asarray(np.linalg.pinv(information)[b:, b:], np.float64))


def _rates(rows: Rows, beta: Floats, theta: Floats) -> tuple[Floats, Floats, Floats]:
    """Rates without touches and with them, and how much of one more unit of effect reaches the latter (r,)."""
    mu = rows.scale * np.exp(np.clip(rows.z @ beta, -50, 50))
    share = 1 + rows.scale * (rows.x @ theta) / mu
    slope = np.exp(np.clip(share / FLOOR - 1, -30, 0))
    return mu, mu * np.where(share >= FLOOR, share, FLOOR * slope), slope


def _likelihood(rows: Rows, beta: Floats, theta: Floats) -> float:
    """Return the log likelihood, and that of the prior."""
    _, rate, _ = _rates(rows, beta, theta)
    unlikely = rows.precision @ np.append(beta, theta) ** 2 / 2
    return float(np.log(rate[: rows.ends].clip(1e-300)).sum() - rows.days @ rate - unlikely)
