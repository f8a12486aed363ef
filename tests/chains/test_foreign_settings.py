"""Foreign functions in chain files and definitions: settings checked by field, runs played by their profile."""

from collections.abc import Mapping
from typing import Any

import pytest

from apps.chains.chain_definition import params_parse, settings_check
from apps.chains.chain_file import chain_file_read
from apps.chains.engine.catalogue import CATALOGUE
from apps.chains.engine.foreign import FOREIGN, RULESET_BYTES_MAX
from apps.chains.file_planning import file_plan, file_verify, random_packets
from apps.chains.services.specs import writes_checked
from nfvportal.lib.errors import InvalidInputError

FILE = """\
name: foreign
rate_pps: 2000
nfs:
  - {name: monitor, type: monitor}
  - {name: search, type: ngrep, params: {pattern: "attack|evil"}}
  - name: firewall
    type: nftables
    params:
      ruleset: |
        table bridge filter {
          chain forward {
            type filter hook forward priority 0; policy accept;
            tcp dport 23 drop
          }
        }
  - {name: lb, type: load_balancer, params: {vip: 10.9.0.5, backends: [{address: 10.9.0.111}]}}
"""


def test_a_chain_with_foreign_functions_is_planned_and_verified() -> None:
    planned = file_plan(chain_file_read(FILE))
    report = file_verify(planned, random_packets(planned.chain, 300, 5), 5)
    assert report.difference is None
    assert report.made_up == ("search", "firewall")
    ruleset = planned.chain.nfs[2].params["ruleset"]
    assert isinstance(ruleset, str)
    assert ruleset.count("\n") == 6


@pytest.mark.parametrize(
    ("old", "new", "field"),
    [
        ("table bridge", "table inet", "nfs[2].params.ruleset"),
        ("tcp dport 23 drop", 'include "/etc/passwd"', "nfs[2].params.ruleset"),
        ("ruleset: |", "rules: |", "nfs[2].params.rules"),
        ('pattern: "attack|evil"', "pattern: [1]", "nfs[1].params.pattern"),
    ],
)
def test_errors_name_the_field(old: str, new: str, field: str) -> None:
    planned = file_plan(chain_file_read(FILE.replace(old, new)))
    with pytest.raises(InvalidInputError) as caught:
        file_verify(planned, random_packets(planned.chain, 1, 1), 1)
    assert caught.value.field == field


def test_what_nobody_runs_may_have_any_settings() -> None:
    settings_check("nfs[0]", "", {"anything": 1})


def test_the_longest_rule_set_can_be_stored() -> None:
    text = "table bridge t { }\n"
    params: Mapping[str, Any] = {"ruleset": text + "#\n" * ((RULESET_BYTES_MAX - len(text)) // 2 - 1)}
    settings_check("nf", "nftables", params)
    # Each line end is two characters of JSON; real rule sets have longer lines than these.
    assert params_parse("params", {"ruleset": text.ljust(RULESET_BYTES_MAX, "#")})


def test_devices_are_told_that_nothing_may_be_written() -> None:
    assert [writes_checked(CATALOGUE[slug].profile) for slug in FOREIGN] == [[], []]
