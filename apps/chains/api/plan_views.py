"""REST of plans and deployments, and the work on a chain that jobs do."""

from typing import Any, ClassVar

from django.contrib.auth.models import User
from django.db.models import QuerySet
from django.http import Http404
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema, extend_schema_view
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView
from rest_framework.viewsets import GenericViewSet

from apps.chains import selectors
from apps.chains.api.serializers import (
    DeploymentDetailSerializer,
    DeploymentSerializer,
    PlanRowSerializer,
    PlanSerializer,
    WhatIfSerializer,
)
from apps.chains.charts import histogram_figure, history_figure, hops_figure
from apps.chains.mapping import definition_of
from apps.chains.models import Chain, Deployment, Plan
from apps.chains.plan_diff import plan_diff
from apps.chains.services import deployments
from apps.chains.services.plans import plan_what_if
from nfvportal.jobs.api.serializers import JobSerializer
from nfvportal.jobs.services import job_start
from nfvportal.lib.errors import InvalidInputError
from nfvportal.rest.problems import ConflictError
from nfvportal.rest.strict import check_filters, text_filter
from nfvportal.rest.views import ReadViewSet, accepted

CHAIN_FILTER = [OpenApiParameter("chain", OpenApiTypes.STR, description="name of a chain")]
JOB_ANSWER = {202: OpenApiResponse(JobSerializer)}


def started(request: Request, kind: str, **params: Any) -> Response:
    """Start a job and answer 202 with its address."""
    assert isinstance(request.user, User)
    job = job_start(kind=kind, params=params, user=request.user)
    return accepted(job.id, JobSerializer(job).data)


def apply_started(request: Request, plan: Plan, reason: str = "") -> Response:
    """Start to apply a plan, after the checks that can be made at once."""
    deployments.plan_check(plan)
    _refuse_busy(plan.chain)
    return started(request, "chains.apply", plan=plan.pk, chain=plan.chain.name, reason=reason)


def _refuse_busy(chain: Chain) -> None:
    try:
        deployments.change_check(chain)
    except deployments.ChainBusyError as error:
        raise ConflictError(str(error)) from error


class ChainWork(GenericViewSet[Any]):
    """Plan, roll back, remove, trace: mixed into the view of chains."""

    @extend_schema(request=WhatIfSerializer, responses=OpenApiTypes.OBJECT, filters=False)
    @action(detail=False, methods=["post"], url_path="what-if", pagination_class=None)
    def what_if(self, request: Request) -> Response:
        """Plan a chain of at most 12 network functions while you wait; nothing is stored."""
        serializer = WhatIfSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        return Response(plan_what_if(**serializer.validated_data))

    @extend_schema(request=None, responses=JOB_ANSWER)
    @action(detail=True, methods=["post"])
    def plan(self, request: Request, name: str) -> Response:
        """Start to plan the newest version; the job's result is ``{"plan": id}``."""
        return started(request, "chains.plan", chain=self.get_object().name)

    @extend_schema(request=None, responses=JOB_ANSWER)
    @action(detail=True, methods=["post"])
    def rollback(self, request: Request, name: str) -> Response:
        """Start to apply the plan that was live before."""
        return apply_started(request, deployments.rollback_plan(self.get_object()), "rolled back")

    @extend_schema(request=None, responses=JOB_ANSWER)
    @action(detail=True, methods=["post"])
    def remove(self, request: Request, name: str) -> Response:
        """Start to take the chain off the devices."""
        chain = self.get_object()
        if not chain.deployments.filter(status="live").exists():
            raise InvalidInputError("", f"{name} is not deployed")
        _refuse_busy(chain)
        return started(request, "chains.remove", chain=name)

    @extend_schema(request=None, responses=JOB_ANSWER)
    @action(detail=True, methods=["post"])
    def trace(self, request: Request, name: str) -> Response:
        """Start to trace the next packet; the job's result holds its hops."""
        chain = self.get_object()
        if not chain.deployments.filter(is_active=True).exists():
            raise InvalidInputError("", f"{name} is not deployed; apply a plan first")
        return started(request, "chains.trace", chain=name)


@extend_schema_view(list=extend_schema(parameters=CHAIN_FILTER, responses=PlanRowSerializer(many=True)))
class PlanViewSet(ReadViewSet):
    """What the planner answered, newest first."""

    serializer_class = PlanSerializer
    keyset: ClassVar[tuple[str, ...]] = ("-id",)
    filters: ClassVar[tuple[str, ...]] = ("chain",)
    lookup_value_converter = "int"

    def get_queryset(self) -> QuerySet[Plan]:
        """Return plans, of one chain in filtered lists."""
        return selectors.plan_list(chain=text_filter(self.request, "chain") if self.action == "list" else "")

    def get_serializer_class(self) -> Any:
        """Return the shape of the action's answer."""
        return PlanRowSerializer if self.action == "list" else PlanSerializer

    @extend_schema(
        responses=OpenApiTypes.OBJECT,
        parameters=[OpenApiParameter("against", OpenApiTypes.INT, required=True, description="id of a plan")],
        filters=False,
    )
    @action(detail=True, pagination_class=None)
    def diff(self, request: Request, pk: int) -> Response:
        """Return what changed from the plan ``against`` to this one."""
        check_filters(request, ("against",), paged=False)
        after, text = self.get_object(), text_filter(request, "against")
        before = (
            self.get_queryset().filter(pk=int(text)).first() if text.isascii() and text.isdigit() else None
        )
        if before is None or before.chain_id != after.chain_id:
            raise InvalidInputError("against", f"must be the id of another plan of {after.chain.name}")
        if not (before.is_feasible and after.is_feasible):
            raise InvalidInputError("against", "both must be plans; one of them says that there is none")
        diff = plan_diff(before.content, after.content)
        return Response({"plan": after.pk, "against": before.pk, **diff})

    @extend_schema(request=None, responses=JOB_ANSWER)
    @action(detail=True, methods=["post"])
    def apply(self, request: Request, pk: int) -> Response:
        """Start to apply the plan: make before break, no packet is lost or taken by two epochs."""
        return apply_started(request, self.get_object())


@extend_schema_view(
    list=extend_schema(parameters=CHAIN_FILTER), retrieve=extend_schema(responses=DeploymentDetailSerializer)
)
class DeploymentViewSet(ReadViewSet):
    """Plans on the devices, newest first."""

    serializer_class = DeploymentSerializer
    keyset: ClassVar[tuple[str, ...]] = ("-id",)
    filters: ClassVar[tuple[str, ...]] = ("chain",)
    lookup_value_converter = "int"

    def get_queryset(self) -> QuerySet[Deployment]:
        """Return deployments, of one chain in filtered lists."""
        name = text_filter(self.request, "chain") if self.action == "list" else ""
        return selectors.deployment_list(chain=name)

    def get_serializer_class(self) -> Any:
        """Return the shape of the action's answer."""
        return DeploymentDetailSerializer if self.action == "retrieve" else DeploymentSerializer


class SteeringView(APIView):
    """Who copies frames: the back end of each switch and why not another, and the devices themselves."""

    @extend_schema(responses=OpenApiTypes.OBJECT)
    def get(self, request: Request) -> Response:
        """Return one row per device, as it last told."""
        check_filters(request, (), paged=False)
        return Response({"devices": selectors.steering_list()})


class ChartView(APIView):
    """Plotly figures, for dashboards of your own."""

    @extend_schema(
        responses=OpenApiTypes.OBJECT,
        parameters=[
            OpenApiParameter(
                "slug", OpenApiTypes.STR, OpenApiParameter.PATH, enum=["history", "histogram", "hops"]
            ),
            OpenApiParameter("chain", OpenApiTypes.STR, required=True),
        ],
    )
    def get(self, request: Request, slug: str) -> Response:
        """Return a figure with ``data`` and ``layout``."""
        check_filters(request, ("chain",), paged=False)
        figures = {"history": _history, "histogram": _histogram, "hops": _hops}
        if slug not in figures:
            raise Http404(f"no chart {slug}; there are {', '.join(figures)}")
        return Response(figures[slug](selectors.chain_get(text_filter(request, "chain"))))


def _history(chain: Chain) -> dict[str, Any]:
    return history_figure(selectors.latency_data(chain)["history"], definition_of(chain)["slo_p99_ms"])


def _histogram(chain: Chain) -> dict[str, Any]:
    return histogram_figure(selectors.latency_data(chain)["newest"])


def _hops(chain: Chain) -> dict[str, Any]:
    shown = selectors.deployment_shown(chain)
    return hops_figure(selectors.hop_list(chain, shown.epoch) if shown else [])
