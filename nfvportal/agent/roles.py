"""TABLE: role name -> ``module:Class``. Roles are named as strings, so that the ground imports no app."""

from importlib import import_module
from typing import cast

from nfvportal.agent.role import Role, RoleContext
from nfvportal.lib.errors import InvalidInputError

ROLES: dict[str, str] = {
    "wan.gateway": "apps.wan.agent.gateway:Gateway",
    "wan.host": "apps.wan.agent.host:Host",
    "chains.classifier": "apps.chains.agent.classifier:Classifier",
    "chains.server": "apps.chains.agent.server:Server",
    "chains.switch": "apps.chains.agent.switch:Switch",
    "chains.traffic": "apps.chains.agent.traffic:Traffic",
    "mptcp.enforcer": "apps.mptcp.agent.enforcer:Enforcer",
    "mptcp.sensor": "apps.mptcp.agent.sensor:Sensor",
    "mptcp.collector": "apps.mptcp.agent.collector:Collector",
    "lab.traffic": "nfvportal.lab.traffic.role:Traffic",
}


def load_role(name: str, context: RoleContext) -> Role:
    """Import a role and make one.

    Raises:
        InvalidInputError: no role of that name.
    """
    if name not in ROLES:
        raise InvalidInputError("role", f"must be one of {', '.join(sorted(ROLES))}, not {name!r}")
    module, _, cls = ROLES[name].partition(":")
    return cast(Role, getattr(import_module(module), cls)(context))
