"""Latencies as distributions on a grid of time: queues, series, and forks that are joined again.

A network function is a queue with one server: M/G/1 with gamma-distributed service. What a packet spends in it is the
service and, with probability rho, a wait, which is taken as gamma by its first two moments (exact for exponential
service). Series add (convolution); a join waits for the last (product of the distributions).

Two dependences are corrected for, since both decide what parallelism gains:

- *Forks.* Branches see the same arrivals, so their waits go up and down together and the join waits less than for
  independent ones. For equal exponential branches Nelson and Tantawi give R_n; what the join adds to the slowest branch
  is scaled by how R_n compares with independence, and for less variable service by how much more of the waiting is
  then shared (all of it for constant service: equal constant branches end together).
- *Series.* Behind a queue with constant service a packet hardly waits again: packets come out apart (Friedman 1965: in
  a tandem of constant servers only the slowest makes packets wait). Behind exponential service it waits as if arrivals
  were Poisson (Jackson). Between the two the wait is interpolated by the scv.

Source: Pollaczek-Khinchine; Nelson and Tantawi, "Approximate analysis of fork/join synchronization in parallel queues",
IEEE ToC 1988, as quoted by the brief. Deviation: the scaling for other than equal exponential branches and the
interpolation in series are ours; tests compare both with simulation.
"""

import math
from dataclasses import dataclass
from functools import reduce
from typing import Final

import numpy as np
from numpy.typing import NDArray

GRID: Final = 2048
Grid = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Wait:
    """Time in a queue before service, microseconds and their squares.

    Args:
        utilization: 0 to below 1; the probability to wait at all.
        mean_us, second_us2: first two moments, over all packets.
    """

    utilization: float
    mean_us: float
    second_us2: float


def utilization_of(rate_pps: float, mean_us: float) -> float:
    """Return the share of time a network function is busy; 1 and more is overload.

    >>> utilization_of(5000, 100)
    0.5
    """
    return rate_pps * mean_us * 1e-6


def mg1_wait(rate_pps: float, mean_us: float, scv: float) -> Wait:
    """Return the wait before gamma-distributed service at Poisson arrivals.

    Args:
        rate_pps: arrivals; mean_us: mean service, above 0; scv: its squared coefficient of variation, 0 or more.

    Returns:
        The wait; infinite moments from utilization 1 on. Complexity: O(1). Source: Pollaczek-Khinchine, moments by
        Takacs.

    >>> mg1_wait(5000, 100, 1).mean_us, mg1_wait(5000, 100, 0).mean_us
    (100.0, 50.0)
    """
    rho = utilization_of(rate_pps, mean_us)
    if rho >= 1:
        return Wait(rho, math.inf, math.inf)
    rate = rate_pps * 1e-6
    second = mean_us**2 * (1 + scv)
    third = mean_us**3 * (1 + scv) * (1 + 2 * scv)
    mean = rate * second / (2 * (1 - rho))
    return Wait(rho, mean, 2 * mean**2 + rate * third / (3 * (1 - rho)))


def after_upstream(wait: Wait, scv: float, upstream_mean_us: float, upstream_scv: float) -> Wait:
    """Return the wait behind other queues: what they have spread already is not waited for again.

    Args:
        wait: as if arrivals were Poisson; scv: of the service.
        upstream_mean_us, upstream_scv: the longest such mean wait before, and the scv of its service; 0 for none.

    >>> after_upstream(mg1_wait(5000, 100, 0), 0, 50, 0).mean_us
    0.0
    """
    regular = (1 - min(1.0, (scv + upstream_scv) / 2)) ** 2
    if wait.mean_us <= 0 or math.isinf(wait.mean_us):
        return wait
    share = 1 - regular * min(1.0, upstream_mean_us / wait.mean_us)
    return Wait(wait.utilization * share, wait.mean_us * share, wait.second_us2 * share)


def nelson_tantawi_us(count: int, rate_pps: float, mean_us: float) -> float:
    """Return the mean response of a fork-join of equal exponential branches, microseconds.

    Within 6 % of simulation for 2 to 5 branches. Source: Nelson and Tantawi 1988, as in the brief.

    >>> round(nelson_tantawi_us(3, 5000, 100) / (3 * 200), 3)
    0.566
    """
    rho = utilization_of(rate_pps, mean_us)
    if rho >= 1:
        return math.inf
    one = mean_us / (1 - rho)
    return one * nelson_tantawi_ratio(count, rho)


def nelson_tantawi_ratio(count: int, rho: float) -> float:
    """Return R_n / R_1 of equal exponential branches.

    >>> nelson_tantawi_ratio(2, 0.0), nelson_tantawi_ratio(1, 0.5)
    (1.5, 1.0)
    """
    if count < 2:
        return 1.0
    harmonic = _harmonic(count)
    shape = harmonic / 1.5
    return (shape + 4 / 11 * (1 - shape) * rho) * (12 - rho) / 8


def _harmonic(count: int) -> float:
    return sum(1 / k for k in range(1, count + 1))


def shared_arrivals_factor(count: int, rho: float, scv: float) -> float:
    """Return what a join adds to its slowest branch, as a share of what it would add were branches independent.

    Args:
        count: branches, at least 2; rho: their mean utilization; scv: of their service, mean.

    >>> shared_arrivals_factor(2, 0.0, 1.0), shared_arrivals_factor(2, 0.5, 0.0)
    (1.0, 0.0)
    """
    exponential = (nelson_tantawi_ratio(count, rho) - 1) / (_harmonic(count) - 1)
    return min(1.0, exponential * _spread(rho, scv) / _spread(rho, 1.0))


def _spread(rho: float, scv: float) -> float:
    """Return the spread between two branches over the spread of one: service and what of the waits is not shared."""
    wait = mg1_wait(rho * 1e6, 1.0, scv)
    own = wait.second_us2 - wait.mean_us**2
    if scv + own <= 0:
        return 0.0
    return math.sqrt((scv + own * (1 - rho / (1 + scv)) * (scv > 0)) / (scv + own))


@dataclass(frozen=True, slots=True)
class Latency:
    """Distribution of a latency.

    Args:
        shift_us: constant part.
        step_us: width of a cell of the grid.
        density: probability per cell, ``GRID`` cells; cell k stands for ``shift_us + k * step_us``.
    """

    shift_us: float
    step_us: float
    density: Grid

    @property
    def mean_us(self) -> float:
        """Mean."""
        return self.shift_us + float(self.density @ np.arange(GRID)) * self.step_us

    def percentile_us(self, share: float) -> float:
        """Return the time that ``share`` (0..1) of the packets stay below, interpolated within the cell."""
        below = np.cumsum(self.density)
        cell = int(np.searchsorted(below, share))
        if cell >= GRID:
            return self.shift_us + (GRID - 1) * self.step_us
        before = float(below[cell - 1]) if cell else 0.0
        within = (share - before) / max(float(self.density[cell]), 1e-300)
        return self.shift_us + max(0.0, cell - 1 + within) * self.step_us

    def plus(self, shift_us: float) -> "Latency":
        """Return the latency with a constant added."""
        return Latency(self.shift_us + shift_us, self.step_us, self.density)


def constant(shift_us: float, step_us: float) -> Latency:
    """Return a latency that does not vary."""
    density = np.zeros(GRID)
    density[0] = 1.0
    return Latency(shift_us, step_us, density)


def gamma(mean_us: float, variance_us2: float, step_us: float) -> Latency:
    """Return a gamma-distributed latency; one that varies less than a cell is taken as constant.

    The mass of each cell is integrated by Simpson's rule, that of the first in closed form (the density may be
    infinite at 0). The mean is exact: what the grid shifts, the constant part takes back.
    """
    if variance_us2 < (step_us / 4) ** 2:
        return constant(mean_us, step_us)
    shape, scale = mean_us**2 / variance_us2, variance_us2 / mean_us
    edges = (np.arange(2 * GRID) + 1) * (step_us / (2 * scale))
    logs = (shape - 1) * np.log(edges) - edges - math.lgamma(shape)
    values = np.exp(logs)
    # Cell k covers k - 1/2 to k + 1/2 steps; edges[j] is at (j + 1) / 2 steps.
    density = np.empty(GRID)
    middle, right = values[1::2], values[2::2]
    density[1:] = (values[0:-2:2] + 4 * middle[:-1] + right) * (step_us / scale / 6)
    density[0] = math.exp(
        shape * math.log(edges[0]) - edges[0] * shape / (shape + 1) - math.lgamma(shape + 1)
    )
    density /= density.sum()
    return Latency(mean_us - float(density @ np.arange(GRID)) * step_us, step_us, density)


def queue(mean_us: float, scv: float, wait: Wait, step_us: float) -> Latency:
    """Return the time in a network function: service and wait."""
    service = gamma(mean_us, scv * mean_us**2, step_us)
    if wait.utilization <= 0 or wait.mean_us <= 0:
        return service
    mean = wait.mean_us / wait.utilization
    waiting = gamma(mean, max(0.0, wait.second_us2 / wait.utilization - mean**2), step_us)
    density = waiting.density * wait.utilization
    density[0] += 1 - wait.utilization
    return in_series([service, Latency(waiting.shift_us * wait.utilization, step_us, density)])


def in_series(parts: list[Latency]) -> Latency:
    """Return the sum of independent latencies on one grid; what exceeds the grid gathers in its last cell."""

    def add(one: Latency, other: Latency) -> Latency:
        if other.density[0] == 1.0:
            return one.plus(other.shift_us)
        if one.density[0] == 1.0:
            return other.plus(one.shift_us)
        whole = np.fft.irfft(np.fft.rfft(one.density, 2 * GRID) * np.fft.rfft(other.density, 2 * GRID))
        np.maximum(whole, 0.0, out=whole)
        density = whole[:GRID].copy()
        density[-1] += whole[GRID:].sum()
        return Latency(one.shift_us + other.shift_us, one.step_us, density / density.sum())

    return reduce(add, parts)


def joined(branches: list[Latency], factor: float) -> Latency:
    """Return when the last branch has come in.

    Args:
        branches: latencies on one grid, at least one.
        factor: see ``shared_arrivals_factor``.
    """
    if len(branches) == 1:
        return branches[0]
    step_us, shift_us = branches[0].step_us, min(branch.shift_us for branch in branches)
    below = np.ones(GRID)
    for branch in branches:
        offset = (branch.shift_us - shift_us) / step_us
        grid = np.arange(GRID)
        below *= np.interp(grid - offset, grid, np.cumsum(branch.density), left=0.0)
    below[-1] = 1.0
    last = Latency(shift_us, step_us, np.diff(below, prepend=0.0))
    slowest = max(branch.mean_us for branch in branches)
    return last.plus((factor - 1) * max(0.0, last.mean_us - slowest))
