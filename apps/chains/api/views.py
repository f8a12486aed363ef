"""REST of ``chains``: the catalogue, and chains with their versions."""

from typing import Any, ClassVar

from django.db.models import QuerySet
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_view
from rest_framework import status
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from apps.chains import selectors
from apps.chains.api.file_views import ChainFiles
from apps.chains.api.plan_views import ChainWork
from apps.chains.api.serializers import (
    AlarmSerializer,
    ChainBodySerializer,
    ChainRowSerializer,
    ChainSerializer,
    NfTypeSerializer,
    RestoreSerializer,
    RevisionSerializer,
)
from apps.chains.models import Chain, ChainAlarm, ChainRevision, NfType
from apps.chains.services import chains, nf_types
from nfvportal.rest.entity_tags import check_match
from nfvportal.rest.strict import check_filters, text_filter
from nfvportal.rest.views import ReadViewSet

IF_MATCH = OpenApiParameter(
    "If-Match", OpenApiTypes.STR, OpenApiParameter.HEADER, required=True, description="tag of what was read"
)
VERBS = ["get", "head", "options", "post", "put", "patch", "delete"]


def version_tag(row: Chain | NfType) -> str:
    """Return the entity tag: the version, so that people can read it."""
    return f'"{row.version}"'


class VersionedViewSet(ReadViewSet):
    """Read by name; the entity tag is the version."""

    def retrieve(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Return one with its version as entity tag."""
        check_filters(request, (), paged=False)
        return self.answer(self.get_object())

    def answer(self, row: Any, status_code: int = status.HTTP_200_OK) -> Response:
        """Return a row with its tag."""
        return Response(self.get_serializer(row).data, status=status_code, headers={"ETag": version_tag(row)})

    def check_version(self, row: Any) -> None:
        """Refuse a change that was not made from the current version; what is current comes with the refusal."""
        check_match(self.request, version_tag(row), self.get_serializer(row).data)

    def parsed(self, *, partial: bool = False) -> Any:
        """Return the checked body."""
        serializer = self.get_serializer(data=self.request.data, partial=partial)
        serializer.is_valid(raise_exception=True)
        return serializer.validated_data


@extend_schema_view(
    create=extend_schema(request=NfTypeSerializer, responses={201: NfTypeSerializer}),
    partial_update=extend_schema(parameters=[IF_MATCH]),
    destroy=extend_schema(parameters=[IF_MATCH], responses={204: None}),
)
class NfTypeViewSet(VersionedViewSet):
    """The catalogue of network functions."""

    serializer_class = NfTypeSerializer
    keyset: ClassVar[tuple[str, ...]] = ("slug",)
    lookup_field = "slug"
    lookup_value_regex = "[a-z0-9_-]+"
    http_method_names = VERBS

    def get_queryset(self) -> QuerySet[NfType]:
        """Return all types."""
        return selectors.nf_type_list()

    def create(self, request: Request) -> Response:
        """Add a type."""
        row = nf_types.nf_type_create(fields=self.parsed(), actor=request.user)
        return self.answer(row, status.HTTP_201_CREATED)

    def partial_update(self, request: Request, slug: str) -> Response:
        """Change some fields of a type; needs ``If-Match``. Plans that exist keep the profile they were made from."""
        self.get_object()
        row = nf_types.nf_type_update(
            slug=slug, fields=self._parsed_change(), actor=request.user, check=self.check_version
        )
        return self.answer(row)

    def destroy(self, request: Request, slug: str) -> Response:
        """Delete a type that no chain uses; needs ``If-Match``."""
        nf_types.nf_type_delete(slug=slug, actor=request.user, check=self.check_version)
        return Response(status=status.HTTP_204_NO_CONTENT)

    def _parsed_change(self) -> Any:
        self.check_version(self.get_object())
        return self.parsed(partial=True)


@extend_schema_view(
    list=extend_schema(responses=ChainRowSerializer(many=True)),
    create=extend_schema(request=ChainBodySerializer, responses={201: ChainSerializer}),
    update=extend_schema(request=ChainBodySerializer, responses=ChainSerializer, parameters=[IF_MATCH]),
    destroy=extend_schema(parameters=[IF_MATCH], responses={204: None}),
)
class ChainViewSet(ChainFiles, ChainWork, VersionedViewSet):
    """Chains as their operators drew them."""

    serializer_class = ChainSerializer
    keyset: ClassVar[tuple[str, ...]] = ("name",)
    lookup_field = "name"
    lookup_value_regex = "[a-z0-9-]+"
    http_method_names = VERBS

    def get_queryset(self) -> QuerySet[Chain]:
        """Return chains with what counts of their deployments."""
        return selectors.chain_list()

    def get_serializer_class(self) -> Any:
        """Return the shape of the action's answer."""
        return ChainRowSerializer if self.action == "list" else super().get_serializer_class()

    def create(self, request: Request) -> Response:
        """Store a new chain."""
        row = chains.chain_create(definition=self.parsed(), actor=request.user)
        return self.answer(row, status.HTTP_201_CREATED)

    def update(self, request: Request, name: str) -> Response:
        """Store a new version; needs ``If-Match``. When somebody else was first, 412 carries ``current``."""
        self.check_version(self.get_object())
        row = chains.chain_update(
            name=name, definition=self.parsed(), actor=request.user, check=self.check_version
        )
        return self.answer(row)

    def destroy(self, request: Request, name: str) -> Response:
        """Delete a chain that is not deployed; needs ``If-Match``."""
        chains.chain_delete(name=name, actor=request.user, check=self.check_version)
        return Response(status=status.HTTP_204_NO_CONTENT)

    @extend_schema(responses=RevisionSerializer(many=True))
    @action(detail=True, filter_backends=[])
    def revisions(self, request: Request, name: str) -> Response:
        """Return the chain's versions, newest first."""
        check_filters(request, ())
        self.keyset = ("-id",)  # type: ignore[misc]  # another table than the view's own
        rows: QuerySet[ChainRevision] = selectors.revision_list(self.get_object())
        page = self.paginate_queryset(rows)
        return self.get_paginated_response(RevisionSerializer(page, many=True).data)

    @extend_schema(request=RestoreSerializer, responses=ChainSerializer)
    @action(detail=True, methods=["post"])
    def restore(self, request: Request, name: str) -> Response:
        """Make an earlier version the newest again: undo, as a new version."""
        self.get_object()
        serializer = RestoreSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        version = serializer.validated_data["version"]
        return self.answer(chains.chain_restore(name=name, version=version, actor=request.user))

    @extend_schema(responses=OpenApiTypes.OBJECT, filters=False)
    @action(detail=True, pagination_class=None)
    def hops(self, request: Request, name: str) -> Response:
        """Return the newest counters of each operator of the deployment that packets take."""
        check_filters(request, (), paged=False)
        row = self.get_object()
        deployment = selectors.deployment_shown(row)
        hops = selectors.hop_list(row, deployment.epoch) if deployment else []
        return Response({"epoch": deployment.epoch if deployment else None, "hops": hops})

    @extend_schema(responses=OpenApiTypes.OBJECT, filters=False)
    @action(detail=True, pagination_class=None)
    def latency(self, request: Request, name: str) -> Response:
        """Return the newest second with its histogram, and the last five minutes."""
        check_filters(request, (), paged=False)
        return Response(dict(selectors.latency_data(self.get_object())))


@extend_schema_view(list=extend_schema(parameters=[OpenApiParameter("chain", OpenApiTypes.STR)]))
class AlarmViewSet(ReadViewSet):
    """Missed targets, undeclared writes and drift, newest first."""

    serializer_class = AlarmSerializer
    keyset: ClassVar[tuple[str, ...]] = ("-id",)
    filters: ClassVar[tuple[str, ...]] = ("chain",)

    def get_queryset(self) -> QuerySet[ChainAlarm]:
        """Return alarms, of one chain in filtered lists."""
        name = text_filter(self.request, "chain") if self.action == "list" else ""
        rows = selectors.alarm_list()
        return rows.filter(chain__name=name) if name else rows
