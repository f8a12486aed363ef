"""A device says who copies at each of its mirrors."""

from apps.chains.agent.plane import Plane
from apps.chains.agent.plane_reports import BY_FABRIC, BY_ITSELF, mirrors_of
from apps.chains.agent.specs import parse_server_spec
from apps.chains.engine.compile import CLASSIFIER
from tests.chains.agent.test_plane_in_lab import HYBRID, NORTH_SOUTH
from tests.support.rack import SERVERS, Run


def plane_of(name: str, run: Run) -> Plane:
    plane = Plane(name, lambda _: None, lambda _: None, lambda _, __: None)
    plane.install(parse_server_spec({"fabric": "fabric", "paths": [run.path_spec()]}).paths)
    return plane


def test_mirrors_name_the_fabric_or_the_process_itself() -> None:
    run = Run(NORTH_SOUTH, HYBRID, timeout_us=1000)
    (mirror,) = mirrors_of(plane_of(CLASSIFIER, run))
    assert mirror == {"path": 7, "epoch": 1, "operator": mirror["operator"], "by": BY_ITSELF}
    groups = {str(mirror["operator"]): "03:00:00:07:01:01"}
    grouped = Run(NORTH_SOUTH, HYBRID, timeout_us=1000, groups=groups)
    assert [one["by"] for one in mirrors_of(plane_of(CLASSIFIER, grouped))] == [BY_FABRIC]
    assert mirrors_of(plane_of(SERVERS[2], grouped)) == [], "the mirror is elsewhere"
