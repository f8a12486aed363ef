"""REST of ``wan``."""

from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

from django.contrib.auth.models import User
from django.db.models import QuerySet
from django.http import Http404
from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_view
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.wan import selectors
from apps.wan.api.serializers import (
    FailoverSerializer,
    MapChangeSerializer,
    MapSerializer,
    VirtualSubnetSerializer,
    WanLinkSerializer,
)
from apps.wan.charts import failover_figure, goodput_figure
from apps.wan.models import FailoverEvent, MapEpoch, SitePair, VirtualSubnet, WanLink
from apps.wan.samples import link_series
from apps.wan.services.failovers import failover_acknowledge
from apps.wan.services.maps import map_set
from nfvportal.lib.errors import InvalidInputError
from nfvportal.rest.entity_tags import check_match
from nfvportal.rest.strict import check_filters, choice_filter, number_filter, text_filter
from nfvportal.rest.views import ReadViewSet

MAX_SAMPLES = 10_000
DEFAULT_SPAN = timedelta(minutes=5)


class WanLinkViewSet(ReadViewSet):
    """WAN links with state and newest measurement."""

    serializer_class = WanLinkSerializer

    def get_queryset(self) -> QuerySet[WanLink]:
        """Return all WAN links."""
        return selectors.wan_link_list()


class VirtualSubnetViewSet(ReadViewSet):
    """Virtual subnets."""

    serializer_class = VirtualSubnetSerializer

    def get_queryset(self) -> QuerySet[VirtualSubnet]:
        """Return all virtual subnets."""
        return VirtualSubnet.objects.select_related("pair", "home__link")


class MapEpochViewSet(ReadViewSet):
    """Maps over time, newest first."""

    serializer_class = MapSerializer
    keyset: ClassVar[tuple[str, ...]] = ("-id",)

    def get_queryset(self) -> QuerySet[MapEpoch]:
        """Return all maps."""
        return MapEpoch.objects.all()


@extend_schema_view(list=extend_schema(parameters=[OpenApiParameter("link", OpenApiTypes.STR)]))
class FailoverViewSet(ReadViewSet):
    """Failovers, newest first."""

    serializer_class = FailoverSerializer
    keyset: ClassVar[tuple[str, ...]] = ("-detected_at", "-id")
    filters: ClassVar[tuple[str, ...]] = ("link",)

    def get_queryset(self) -> QuerySet[FailoverEvent]:
        """Return failovers, of one link in filtered lists."""
        rows = selectors.failover_list()
        link = text_filter(self.request, "link") if self.action == "list" else ""
        return rows.filter(wan_link__link__name=link) if link else rows

    @extend_schema(request=None, responses=FailoverSerializer)
    @action(detail=True, methods=["post"])
    def acknowledge(self, request: Request, pk: str) -> Response:
        """Say that somebody has seen the alarm; the first one counts."""
        assert isinstance(request.user, User)
        failover = failover_acknowledge(failover=self.get_object(), user=request.user)
        return Response(FailoverSerializer(failover).data)


class MapView(APIView):
    """The map that holds now."""

    @extend_schema(responses=MapSerializer, parameters=[OpenApiParameter("pair", OpenApiTypes.STR)])
    def get(self, request: Request) -> Response:
        """Return the map of a site pair; the pair may be left out when there is only one."""
        check_filters(request, ("pair",), paged=False)
        return _map_answer(_newest(_pair(request)))

    @extend_schema(
        request=MapChangeSerializer,
        responses=MapSerializer,
        parameters=[OpenApiParameter("pair", OpenApiTypes.STR)],
    )
    def put(self, request: Request) -> Response:
        """Set where virtual subnets are at home; needs ``If-Match`` with the tag of the map that was read."""
        check_filters(request, ("pair",), paged=False)
        pair = _pair(request)
        check_match(request, _tag(_newest(pair)))
        serializer = MapChangeSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        fields = serializer.validated_data
        epoch = map_set(pair=pair, homes=fields["mapping"], actor=request.user, reason=fields["reason"])
        return _map_answer(epoch)


class SampleView(APIView):
    """Measurements of one link over time."""

    @extend_schema(
        responses=OpenApiTypes.OBJECT,
        parameters=[
            OpenApiParameter("link", OpenApiTypes.STR, required=True),
            OpenApiParameter(
                "since", OpenApiTypes.NUMBER, description="epoch seconds; five minutes ago by default"
            ),
            OpenApiParameter("resolution", OpenApiTypes.STR, enum=["raw", "1m"]),
        ],
    )
    def get(self, request: Request) -> Response:
        """Return samples from ``since`` on, ascending, at most 10 000."""
        check_filters(request, ("link", "since", "resolution"), paged=False)
        row = WanLink.objects.filter(link__name=text_filter(request, "link")).first()
        if row is None:
            raise InvalidInputError("link", "must be the name of a WAN link")
        since_s = number_filter(request, "since")
        try:
            since = (
                datetime.fromtimestamp(since_s, UTC) if since_s is not None else timezone.now() - DEFAULT_SPAN
            )
        except (ValueError, OverflowError, OSError) as error:
            raise InvalidInputError("since", "must be a time in epoch seconds") from error
        is_by_minute = choice_filter(request, "resolution", ("raw", "1m")) == "1m"
        samples = link_series(row.pk, since, is_by_minute=is_by_minute, limit=MAX_SAMPLES)
        return Response(
            {"link": row.link.name, "resolution": "1m" if is_by_minute else "raw", "samples": samples}
        )


class ChartView(APIView):
    """Plotly figures, for dashboards of your own."""

    @extend_schema(
        responses=OpenApiTypes.OBJECT,
        parameters=[
            OpenApiParameter("name", OpenApiTypes.STR, OpenApiParameter.PATH, enum=["goodput", "failovers"])
        ],
    )
    def get(self, request: Request, name: str) -> Response:
        """Return a figure with ``data`` and ``layout``."""
        check_filters(request, (), paged=False)
        figures: dict[str, Any] = {"goodput": _goodput_figure, "failovers": _failover_figure}
        if name not in figures:
            raise Http404(f"no chart {name}; there are {', '.join(figures)}")
        return Response(figures[name]())


def _goodput_figure() -> dict[str, Any]:
    capacity_bps = sum(row.link.capacity_bps for row in selectors.wan_link_list())
    return goodput_figure(selectors.goodput_list(), capacity_bps)


def _failover_figure() -> dict[str, Any]:
    rows = selectors.failover_list()[: selectors.FAILOVERS_SHOWN]
    return failover_figure([selectors.failover_data(row) for row in rows])


def _pair(request: Request) -> SitePair:
    name = text_filter(request, "pair")
    pairs = list(SitePair.objects.filter(name=name) if name else SitePair.objects.all()[:2])
    if not pairs:
        raise Http404(f"no site pair {name}" if name else "there is no site pair yet")
    if len(pairs) > 1:
        raise InvalidInputError("pair", "is required, since there is more than one site pair")
    return pairs[0]


def _newest(pair: SitePair) -> MapEpoch:
    epoch = selectors.map_get(pair)
    if epoch is None:
        raise Http404(f"{pair.name} has no map yet")
    return epoch


def _tag(epoch: MapEpoch) -> str:
    return f'"{epoch.pair_id}-{epoch.number}"'


def _map_answer(epoch: MapEpoch) -> Response:
    return Response(MapSerializer(epoch).data, headers={"ETag": _tag(epoch)})
