"""REST of chains as files, and of the verdicts of a chain that need not be stored: mixed into the view of chains."""

from typing import Any

from django.http import HttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import status
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import GenericViewSet

from apps.chains.api.serializers import (
    ChainBodySerializer,
    ChainImportSerializer,
    ChainSerializer,
    VerdictsSerializer,
)
from apps.chains.chain_export import CONTENT_TYPES, FORMATS, chain_export
from apps.chains.chain_file import ChainFile, ChainFileError, chain_file_read
from apps.chains.mapping import definition_of
from apps.chains.services.analysis import pairs_analyse
from apps.chains.services.chains import chain_create, definition_check
from nfvportal.lib.errors import InvalidInputError
from nfvportal.rest.problems import CONTENT_TYPE, problem
from nfvportal.rest.strict import check_filters, choice_filter


class ChainFiles(GenericViewSet[Any]):
    """Import, export, verdicts."""

    @extend_schema(request=ChainBodySerializer, responses=VerdictsSerializer, filters=False)
    @action(detail=False, methods=["post"], pagination_class=None)
    def analyse(self, request: Request) -> Response:
        """Return for every pair whether it may run side by side, and why; nothing is stored."""
        serializer = ChainBodySerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        return Response({"pairs": pairs_analyse(definition=serializer.validated_data)})

    @extend_schema(request=ChainImportSerializer, responses={201: ChainSerializer, 200: ChainBodySerializer})
    @action(detail=False, methods=["post"], url_path="import")
    def import_file(self, request: Request) -> Response:
        """Store the chain in a file's text; errors name line and field. Servers and types in the file are ignored."""
        serializer = ChainImportSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        try:
            file = chain_file_read(serializer.validated_data["text"])
            return self._imported(request, file, is_dry_run=serializer.validated_data["dry_run"])
        except ChainFileError as error:
            errors = [{"field": error.field, "limit": error.limit, "line": str(error.line)}]
            body = problem(400, str(error), errors=errors, line=error.line, field=error.field)
            return Response(body, status=400, content_type=CONTENT_TYPE)

    def _imported(self, request: Request, file: ChainFile, *, is_dry_run: bool) -> Response:
        try:
            definition_check(file.definition)
            if is_dry_run:
                return Response(dict(file.definition))
            row = chain_create(definition=file.definition, actor=request.user, note="imported")
        except InvalidInputError as error:
            raise file.located(error) from error
        headers = {"ETag": f'"{row.version}"'}
        return Response(ChainSerializer(row).data, status=status.HTTP_201_CREATED, headers=headers)

    @extend_schema(
        responses={(200, "text/plain"): OpenApiTypes.STR},
        parameters=[OpenApiParameter("format", OpenApiTypes.STR, enum=list(FORMATS))],
        filters=False,
    )
    @action(detail=True, pagination_class=None)
    def export(self, request: Request, name: str) -> HttpResponse:
        """Return the chain as a file: ``yaml`` by default, ``tosca`` (VNFFG) or ``networking-sfc`` (commands)."""
        check_filters(request, ("format",), paged=False)
        format_ = choice_filter(request, "format", FORMATS) or "yaml"
        content_type, suffix = CONTENT_TYPES[format_]
        text = chain_export(definition_of(self.get_object()), format_)
        answer = HttpResponse(text, content_type=f"{content_type}; charset=utf-8")
        answer["Content-Disposition"] = f'attachment; filename="{name}.{suffix}"'
        return answer
