"""The demo: built-in types and sample chains that can run; what people changed stays."""

import pytest

from apps.chains.engine.catalogue import CATALOGUE
from apps.chains.models import Chain, ChainRevision, NfType, Plan
from apps.chains.seeds import CHAINS, catalogue_seed, seed_demo
from apps.chains.services.deployments import plan_check
from apps.chains.services.nf_types import nf_type_update
from nfvportal.inventory.models import Device
from tests.support.chains import plan_of

pytestmark = pytest.mark.django_db


def test_seeding_twice_changes_nothing() -> None:
    for _ in range(2):
        seed_demo()
    assert set(NfType.objects.values_list("slug", flat=True)) == set(CATALOGUE)
    assert Chain.objects.count() == ChainRevision.objects.count() == len(CHAINS)
    assert not Plan.objects.exists()


def test_types_follow_the_engine_until_somebody_changes_them() -> None:
    catalogue_seed()
    NfType.objects.filter(slug="monitor").update(description="of an older portal")
    nf_type_update(slug="firewall", fields={"title": "Our firewall"}, actor=None)
    catalogue_seed()
    assert NfType.objects.get(slug="monitor").description == CATALOGUE["monitor"].description
    assert NfType.objects.get(slug="firewall").title == "Our firewall"


def test_every_sample_can_be_planned_and_run(fabric: dict[str, Device]) -> None:
    seed_demo()
    for chain in Chain.objects.all():
        assert plan_check(plan_of(chain))
