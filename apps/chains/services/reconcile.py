"""Making up for what was missed: a portal that was killed between rows and desired states, seeds that came later."""

from apps.chains.models import Deployment
from apps.chains.services.deployments import CHANGING, deployment_fail
from apps.chains.services.specs import specs_push
from nfvportal.inventory.models import DesiredState
from nfvportal.jobs.models import FINISHED_STATES, Job


def specs_reconcile() -> None:
    """Give every device of the data plane what it shall hold; unchanged specs cause nothing.

    Nothing is written before the first deployment: a portal without chains leaves its devices alone.
    """
    held = DesiredState.objects.filter(role="chains.classifier")
    if Deployment.objects.filter(is_installed=True).exists() or held.exists():
        specs_push()


def deployments_reconcile() -> int:
    """Give up deployments whose job ended without them (an unforeseen error, a deleted row); return how many.

    Else nobody could change the chain again: a change under way keeps others out.
    """
    open_rows = list(Deployment.objects.select_related("chain", "plan").filter(status__in=CHANGING))
    jobs = {job.pk: job for job in Job.objects.filter(pk__in=[row.job_id for row in open_rows if row.job_id])}
    count = 0
    for row in open_rows:
        job = jobs.get(row.job_id) if row.job_id else None
        if job is None or job.state in FINISHED_STATES:
            deployment_fail(row, f"its job ended: {job.error if job and job.error else 'it is gone'}")
            count += 1
    return count
