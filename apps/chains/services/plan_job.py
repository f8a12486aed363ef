"""The job ``chains.plan``."""

import uuid
from typing import Any

from apps.chains.models import Chain
from apps.chains.services.plans import plan_make
from nfvportal.jobs.runner import JobHandle
from nfvportal.lib.errors import InvalidInputError


def run(job: JobHandle) -> dict[str, Any]:
    """Plan the newest version of ``params["chain"]``; a second run returns the first's plan."""
    chain = Chain.objects.filter(name=str(job.params["chain"])).first()
    if chain is None:
        raise InvalidInputError("chain", "does not exist any more")
    job.progress(0.1, "planning")
    plan = plan_make(
        chain=chain, actor=job.user, reason=str(job.params.get("reason", "")), job_id=uuid.UUID(job.id)
    )
    words = "planned" if plan.is_feasible else f"there is no plan: {plan.content['witness']}"
    job.progress(1.0, words)
    return {"plan": plan.pk, "is_feasible": plan.is_feasible}
