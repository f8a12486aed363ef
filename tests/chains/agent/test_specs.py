"""What devices take as a proof's part of their specs."""

import pytest

from apps.chains.agent.specs import Stepped, parse_classifier_spec, parse_server_spec
from nfvportal.lib.errors import InvalidInputError

CLASSIFIER = {"fabric": "fabric", "ingress": "in", "egress": "out"}


def test_a_question_for_states_and_stepped_times() -> None:
    assert parse_server_spec({"fabric": "fabric"}).state_nonce == ""
    assert parse_server_spec({"fabric": "fabric", "state": {"nonce": "n1"}}).state_nonce == "n1"
    assert parse_classifier_spec(CLASSIFIER).stepped is None
    stepped = {"start_us": 1_000_000, "step_us": 50}
    assert parse_classifier_spec({**CLASSIFIER, "stepped": stepped}).stepped == Stepped(1_000_000, 50)


@pytest.mark.parametrize(
    ("value", "field"),
    [
        ({"state": "n1"}, "state"),
        ({"state": {"nonce": ""}}, "state.nonce"),
        ({"state": {"nonce": "n" * 201}}, "state.nonce"),
    ],
)
def test_limits_of_a_question(value: dict[str, object], field: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        parse_server_spec({"fabric": "fabric", **value})
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("value", "field"),
    [
        ([], "stepped"),
        ({"start_us": -1, "step_us": 1}, "stepped.start_us"),
        ({"start_us": 1, "step_us": 0}, "stepped.step_us"),
        ({"start_us": 1}, "stepped.step_us"),
    ],
)
def test_limits_of_stepped_times(value: object, field: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        parse_classifier_spec({**CLASSIFIER, "stepped": value})
    assert caught.value.field == field
