"""Verdicts of a chain's pairs, for the editor while it is drawn."""

from collections.abc import Iterable

from apps.chains.chain_definition import Definition
from apps.chains.engine.analysis import analyse
from apps.chains.mapping import engine_chain
from apps.chains.models import NfType
from apps.chains.plan_json import VerdictJson, pairs_to_json


def pairs_analyse(*, definition: Definition) -> list[VerdictJson]:
    """Return the verdict of every pair of a chain that need not be stored.

    Raises:
        InvalidInputError: a type is not in the catalogue.
    """
    chain = engine_chain(definition, types_of(definition))
    return pairs_to_json(chain, analyse(chain))


def types_of(definition: Definition) -> Iterable[NfType]:
    """Return the catalogue rows that a chain names."""
    return NfType.objects.filter(slug__in=[nf["type"] for nf in definition["nfs"]])
