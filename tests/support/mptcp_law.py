"""The false-association law N^2 (L + delta) / 2^b, and how honest the engine's confidence is: by simulation."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from apps.mptcp.engine.associator import Associator, associate
from apps.mptcp.engine.confidence import false_share
from apps.mptcp.engine.config import AssociatorConfig
from apps.mptcp.engine.evidence import FIRST_SOFT
from apps.mptcp.engine.sweep import KNOWN_64, Units, meeting_pairs
from tests.support.mptcp_model import Model, World, make_world, truth_of

# Upper ends of the bins of stated false probability.
BINS = (1e-5, 1e-4, 1e-3, 1e-2, 1.0)


def chance_meetings(connections: int, length: int, tolerance: int, bits: int, seed: int) -> int:
    """Return how many of ``connections`` strangers meet in one space of ``bits`` bits.

    The engine's own sweep runs; at fewer than 64 bits all numbers are scaled up to its circle.
    """
    rng = np.random.default_rng(seed)
    scale = np.uint64(1) << np.uint64(64 - bits)
    low = rng.integers(0, 1 << bits, (connections, 1), dtype=np.uint64) * scale
    units = Units(
        head=np.arange(connections, dtype=np.int32),
        known=np.full((connections, 1), KNOWN_64, np.uint8),
        lo=low,
        hi=low + np.uint64(length) * scale,
        has_start=np.zeros((connections, 1), np.uint8),
        start=np.zeros((connections, 1), np.uint64),
    )
    return len(meeting_pairs(units, tolerance * int(scale)))


def expected_meetings(connections: int, length: int, tolerance: int, bits: int) -> float:
    """Return the law: pairs times the numbers within which two intervals meet, over the circle."""
    return connections * (connections - 1) / 2 * (2 * length + 2 * tolerance) / 2.0**bits


@dataclass(frozen=True, slots=True)
class Bin:
    """Edges whose stated false probability lies in one bin: how many, what was said, what was so."""

    count: int
    stated: float
    observed: float
    false_count: int


def edges_of(machine: Associator, world: World) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return the false probability that each live soft edge states, and whether it is false."""
    truth = truth_of(machine, world)
    edges = machine.domain.edges.kept
    alive = edges[(edges["is_dead"] == 0) & (edges["kind"] >= FIRST_SOFT)]
    is_false = np.array([truth[int(edge["i"])] != truth[int(edge["j"])] for edge in alive], bool)
    stated = np.array([false_share(float(one)) for one in alive["false_probability"]])
    return stated, is_false


def calibration(models: list[Model]) -> list[Bin]:
    """Return stated against observed where the engine takes thirty times more doubtful partners than by default."""
    config = AssociatorConfig(false_partners=0.03)
    parts = []
    for model in models:
        world = make_world(model)
        parts.append(edges_of(associate(world.parts(), config), world))
    stated = np.concatenate([one for one, _ in parts])
    is_false = np.concatenate([one for _, one in parts])
    place = np.searchsorted(BINS, stated, side="right")
    bins = []
    for index in range(len(BINS)):
        chosen = place == index
        count = int(chosen.sum())
        if count:
            bins.append(
                Bin(
                    count,
                    float(stated[chosen].mean()),
                    float(is_false[chosen].mean()),
                    int(is_false[chosen].sum()),
                )
            )
    return bins


def dense_models(connections: int, seeds: range) -> list[Model]:
    """Return worlds at 32 bit so dense that strangers do meet: many connections of one pair of hosts, few samples."""
    base = {
        "connections": connections,
        "width": 32,
        "has_tokens": False,
        "duration_s": 10.0,
        "rate_bps_median": 4e5,
    }
    return [
        Model(**base, sampling=sampling, seed=seed)  # type: ignore[arg-type]
        for seed in seeds
        for sampling in (0.002, 0.01)
    ]
