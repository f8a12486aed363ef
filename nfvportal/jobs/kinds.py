"""TABLE: the kinds of job, what runs them and who may start them."""

from dataclasses import dataclass

from nfvportal.accounts.access import Role


@dataclass(frozen=True, slots=True)
class JobKind:
    """What a kind of job is.

    Args:
        function: ``module:callable`` that takes a ``JobHandle`` and returns the result as a JSON object.
            It must be safe to run twice: a worker may die at any point.
        queue: Celery queue.
        title: what an operator sees.
        minimum: lowest role that may start or cancel it.
    """

    function: str
    queue: str
    title: str
    minimum: Role = Role.OPERATOR


JOB_KINDS: dict[str, JobKind] = {
    "chains.plan": JobKind("apps.chains.services.plan_job:run", "engine", "Plan of a chain"),
    "chains.place": JobKind("apps.chains.services.placement_job:run", "engine", "Placement of chains"),
    "chains.apply": JobKind("apps.chains.services.apply_job:apply_run", "engine", "Change of a chain"),
    "chains.remove": JobKind("apps.chains.services.apply_job:remove_run", "engine", "Removal of a chain"),
    "chains.trace": JobKind("apps.chains.services.traces:trace_run", "engine", "Trace of a packet"),
    "mptcp.accuracy": JobKind("apps.mptcp.services.accuracy_job:run", "engine", "Accuracy on a capture"),
    "mptcp.capture": JobKind("apps.mptcp.services.capture_job:run", "engine", "Reading of a capture"),
    "lab.fault": JobKind("nfvportal.testbed.fault_job:run", "control", "Fault in the lab"),
    "inventory.import_csv": JobKind(
        "nfvportal.inventory.import_job:run", "engine", "Import of the inventory", Role.ADMIN
    ),
}
