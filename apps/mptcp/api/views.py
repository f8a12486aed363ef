"""REST of ``mptcp``: connections, subflows, lookup, alarms, domains, changes."""

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

from django.contrib.auth.models import User
from django.db.models import Q, QuerySet
from django.http import Http404
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_view
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.mptcp import selectors
from apps.mptcp.api.serializers import (
    BulkLookupAnswerSerializer,
    BulkLookupSerializer,
    ChangeSerializer,
    ConnectionRowSerializer,
    ConnectionSerializer,
    DomainSerializer,
    LookupSerializer,
    MptcpAlarmSerializer,
    PathAdviceSerializer,
    SubflowRowSerializer,
)
from apps.mptcp.charts import dsn_figure
from apps.mptcp.engine.values import FlowKey
from apps.mptcp.mapping import flow_key, token_parse
from apps.mptcp.models import (
    SUBFLOW_STATES,
    Alarm,
    AssociationDomain,
    ChangeLog,
    Connection,
    ConnectionState,
    Subflow,
)
from apps.mptcp.path_advice import path_advice
from apps.mptcp.services.alarms import alarm_acknowledge
from nfvportal.lib.errors import InvalidInputError
from nfvportal.rest.permissions import RolePermission
from nfvportal.rest.strict import check_filters, choice_filter, number_filter, text_filter
from nfvportal.rest.views import ReadViewSet

CONNECTION_FILTERS = ("state", "address", "token", "domain", "capture", "min_confidence", "min_subflows")


def _parameters(**described: str) -> list[OpenApiParameter]:
    return [OpenApiParameter(name, OpenApiTypes.STR, description=words) for name, words in described.items()]


def key_filter(request: Request, name: str) -> int | None:
    """Return a filter that is the key of a row, ``None`` when it is not given.

    Raises:
        InvalidInputError: it is no whole number above 0.
    """
    text = request.query_params.get(name)
    if text is None:
        return None
    if not text.isascii() or not text.isdigit() or not 0 < int(text[:19]) < 2**63:
        raise InvalidInputError(name, "must be a whole number above 0")
    return int(text)


def address_filter(request: Request, name: str) -> str:
    """Return an address filter in the form that rows hold; empty when it is not given.

    Raises:
        InvalidInputError: it is no address.
    """
    text = text_filter(request, name)
    if not text:
        return ""
    try:
        return flow_key(text, 0, text, 0).a
    except InvalidInputError as error:
        raise InvalidInputError(name, error.limit) from error


@extend_schema_view(
    list=extend_schema(
        responses=ConnectionRowSerializer(many=True),
        parameters=[
            OpenApiParameter("state", OpenApiTypes.STR, enum=ConnectionState.values),
            *_parameters(
                address="of one of its subflows' ends",
                token="eight hexadecimal digits, as ss -M shows it",  # noqa: S106  a token of Multipath TCP
                domain="name of a site whose sensors see it",
            ),
            OpenApiParameter("capture", OpenApiTypes.INT, description="found in this capture"),
            OpenApiParameter("min_confidence", OpenApiTypes.NUMBER, description="0..1"),
            OpenApiParameter("min_subflows", OpenApiTypes.INT),
        ],
    )
)
class ConnectionViewSet(ReadViewSet):
    """Multipath TCP connections, newest first."""

    serializer_class = ConnectionSerializer
    keyset: ClassVar[tuple[str, ...]] = ("-id",)
    filters: ClassVar[tuple[str, ...]] = CONNECTION_FILTERS

    def get_queryset(self) -> QuerySet[Connection]:
        """Return connections, filtered in lists."""
        if self.action != "list":
            return selectors.connection_list()
        request = self.request
        token = text_filter(request, "token")
        min_subflows = number_filter(request, "min_subflows")
        return selectors.connection_search(
            state=choice_filter(request, "state", ConnectionState.values),
            address=address_filter(request, "address"),
            token=token_parse(token) if token else None,
            domain=text_filter(request, "domain"),
            capture=key_filter(request, "capture"),
            min_confidence=number_filter(request, "min_confidence"),
            min_subflows=int(min_subflows) if min_subflows is not None else None,
        )

    def get_serializer_class(self) -> Any:
        """Return the shape of the action's answer."""
        return ConnectionRowSerializer if self.action == "list" else super().get_serializer_class()

    @extend_schema(responses=OpenApiTypes.OBJECT, filters=False)
    @action(detail=True, pagination_class=None)
    def picture(self, request: Request, pk: str) -> Response:
        """Return a Plotly figure: data sequence numbers over time, a trace per subflow and direction."""
        check_filters(request, (), paged=False)
        row = self.get_object()
        return Response(dsn_figure(list(row.subflows.all())))

    @extend_schema(responses=PathAdviceSerializer, filters=False)
    @action(detail=True, pagination_class=None)
    def paths(self, request: Request, pk: str) -> Response:
        """Return on which links and observation points each sibling was seen, and which siblings share none."""
        check_filters(request, (), paged=False)
        return Response(path_advice(self.get_object()))


@extend_schema_view(
    list=extend_schema(
        parameters=[
            OpenApiParameter("connection", OpenApiTypes.INT),
            OpenApiParameter("capture", OpenApiTypes.INT),
            OpenApiParameter("address", OpenApiTypes.STR),
            OpenApiParameter("state", OpenApiTypes.STR, enum=SUBFLOW_STATES),
        ]
    )
)
class SubflowViewSet(ReadViewSet):
    """Subflows of all connections, newest first."""

    serializer_class = SubflowRowSerializer
    keyset: ClassVar[tuple[str, ...]] = ("-id",)
    filters: ClassVar[tuple[str, ...]] = ("connection", "capture", "address", "state")

    def get_queryset(self) -> QuerySet[Subflow]:
        """Return subflows, filtered in lists."""
        rows = Subflow.objects.defer("points")
        if self.action != "list":
            return rows
        if (connection := key_filter(self.request, "connection")) is not None:
            rows = rows.filter(connection=connection)
        if (capture := key_filter(self.request, "capture")) is not None:
            rows = rows.filter(connection__capture=capture)
        if address := address_filter(self.request, "address"):
            rows = rows.filter(Q(a=address) | Q(b=address))
        if state := choice_filter(self.request, "state", SUBFLOW_STATES):
            rows = rows.filter(state=state)
        return rows


class ReadsByPost(RolePermission):
    """A question that is too long for an address is asked by POST, and still only a question."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        """Let every viewer ask, with read-only tokens too."""
        from nfvportal.accounts.access import has_role

        self.message = f"this needs the role {self.reads.value}"
        return has_role(request.user, self.reads)


class LookupView(APIView):
    """Whose subflow is this, and who are its siblings."""

    permission_classes = (ReadsByPost,)

    @extend_schema(
        responses=LookupSerializer,
        parameters=[
            OpenApiParameter("src", OpenApiTypes.STR, required=True),
            OpenApiParameter("src_port", OpenApiTypes.INT, required=True),
            OpenApiParameter("dst", OpenApiTypes.STR, required=True),
            OpenApiParameter("dst_port", OpenApiTypes.INT, required=True),
            OpenApiParameter("capture", OpenApiTypes.INT, description="look in this capture"),
        ],
    )
    def get(self, request: Request) -> Response:
        """Look one 4-tuple up, in either direction."""
        check_filters(request, ("src", "src_port", "dst", "dst_port", "capture"), paged=False)
        flow = flow_key(
            text_filter(request, "src"), _port(request, "src_port"),
            text_filter(request, "dst"), _port(request, "dst_port"),
        )  # fmt: skip
        (answer,) = lookup_answers([flow], key_filter(request, "capture"))
        if answer["connection"] is None:
            raise Http404(f"no subflow {flow.a}:{flow.a_port} – {flow.b}:{flow.b_port} was seen")
        return Response(answer)

    @extend_schema(request=BulkLookupSerializer, responses=BulkLookupAnswerSerializer)
    def post(self, request: Request) -> Response:
        """Look up to 1000 4-tuples up; nothing is changed, so that read-only tokens may ask."""
        check_filters(request, (), paged=False)
        serializer = BulkLookupSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        flows = [flow_key(**flow) for flow in serializer.validated_data["flows"]]
        return Response({"results": lookup_answers(flows, serializer.validated_data["capture"])})


def lookup_answers(flows: Sequence[FlowKey], capture: int | None) -> list[dict[str, Any]]:
    """Return an answer per 4-tuple. Four queries, whatever their number, and one per domain."""
    found = selectors.subflows_find(flows, capture)
    keys = {row.connection_id for row in found.values()}
    rows = selectors.connection_list().prefetch_related("subflows", "evidence").in_bulk(keys)
    names = {row.domain_id: selectors.observer_names(row.domain) for row in rows.values()}
    return [_lookup_answer(flow, found.get(flow), rows, names) for flow in flows]


def _lookup_answer(
    flow: FlowKey,
    subflow: Subflow | None,
    rows: dict[int, Connection],
    names: dict[int | None, dict[int, str]],
) -> dict[str, Any]:
    asked = {"src": flow.a, "src_port": flow.a_port, "dst": flow.b, "dst_port": flow.b_port}
    row = rows.get(subflow.connection_id) if subflow is not None else None
    if subflow is None or row is None:
        return {"flow": asked, "subflow": None, "connection": None, "siblings": [], "evidence": []}
    known = names[row.domain_id]
    siblings: Iterable[Subflow] = row.subflows.all()
    return {
        "flow": asked,
        "subflow": selectors.subflow_data(subflow, known),
        "connection": selectors.connection_row(row),
        "siblings": [selectors.subflow_data(other, known) for other in siblings if other.pk != subflow.pk],
        "evidence": [selectors.evidence_data(evidence) for evidence in row.evidence.all()],
    }


def _port(request: Request, name: str) -> int:
    text = request.query_params.get(name, "")
    if not text.isascii() or not text.isdigit() or int(text[:6]) > 65535:
        raise InvalidInputError(name, "must be from 0 to 65535")
    return int(text)


class AlarmViewSet(ReadViewSet):
    """Join floods, changed keys, doubled ADD_ADDR, merges that look false; newest first."""

    serializer_class = MptcpAlarmSerializer
    keyset: ClassVar[tuple[str, ...]] = ("-id",)

    def get_queryset(self) -> QuerySet[Alarm]:
        """Return all alarms."""
        return selectors.alarm_list()

    @extend_schema(request=None, responses=MptcpAlarmSerializer)
    @action(detail=True, methods=["post"])
    def acknowledge(self, request: Request, pk: str) -> Response:
        """Say that somebody has seen the alarm; the first one counts."""
        assert isinstance(request.user, User)
        return Response(
            MptcpAlarmSerializer(alarm_acknowledge(row=self.get_object(), user=request.user)).data
        )


class DomainViewSet(ReadViewSet):
    """Association domains, one per site with sensors."""

    serializer_class = DomainSerializer

    def get_queryset(self) -> QuerySet[AssociationDomain]:
        """Return all domains."""
        return selectors.domain_list()


@extend_schema_view(
    list=extend_schema(
        parameters=[
            OpenApiParameter("after", OpenApiTypes.INT, description="sequence number; 0: all that is kept")
        ]
    )
)
class ChangeViewSet(ReadViewSet):
    """What happened to connections, in order: replay from any sequence number that is still kept."""

    serializer_class = ChangeSerializer
    filters: ClassVar[tuple[str, ...]] = ("after",)

    def get_queryset(self) -> QuerySet[ChangeLog]:
        """Return changes after a number in lists."""
        after = number_filter(self.request, "after") if self.action == "list" else None
        return selectors.change_list(int(after or 0))
