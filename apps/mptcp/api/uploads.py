"""REST of captures: a file of up to ``MAX_CAPTURE_BYTES`` straight to disk, then a job.

Who may not upload, and what is too long, is refused before the body is read.
"""

from typing import Any, ClassVar

from django.conf import settings
from django.contrib.auth.models import User
from django.db.models import QuerySet
from django.http import HttpRequest, QueryDict
from django.utils.datastructures import MultiValueDict
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema, extend_schema_view
from rest_framework import status
from rest_framework.parsers import MultiPartParser
from rest_framework.request import Request
from rest_framework.response import Response

from apps.mptcp import selectors
from apps.mptcp.api.serializers import CaptureSerializer, CaptureUploadSerializer
from apps.mptcp.capture_options import CaptureOptions
from apps.mptcp.models import Capture, CaptureState
from apps.mptcp.services.captures import capture_create, capture_delete
from apps.mptcp.upload import CaptureUploadHandler, IncompleteUploadError, LengthMissingError
from nfvportal.rest.authentication import BearerAuthentication, SessionScheme, StrictSessionAuthentication
from nfvportal.rest.strict import check_filters, choice_filter
from nfvportal.rest.views import ReadViewSet


class UnreadBodySessionAuthentication(StrictSessionAuthentication):
    """The session of a browser, its CSRF token taken from the header only: the body is not read to find one."""

    def enforce_csrf(self, request: Request) -> None:
        """Check the token as if the body held none."""
        plain = request._request
        if not hasattr(plain, "_post"):
            plain._post, plain._files = QueryDict(), MultiValueDict()  # type: ignore[attr-defined]
        super().enforce_csrf(plain)  # type: ignore[arg-type]  # it reads what Django's own has


class UnreadBodySessionScheme(SessionScheme):  # type: ignore[no-untyped-call]  # registers itself untyped
    """Described like any session; the OpenAPI document asks for one name per class."""

    target_class = "apps.mptcp.api.uploads.UnreadBodySessionAuthentication"
    name = "uploadCookieAuth"


@extend_schema_view(
    list=extend_schema(parameters=[OpenApiParameter("state", OpenApiTypes.STR, enum=CaptureState.values)]),
    destroy=extend_schema(responses={204: None}),
)
class CaptureViewSet(ReadViewSet):
    """Uploaded captures, newest first."""

    serializer_class = CaptureSerializer
    authentication_classes = (BearerAuthentication, UnreadBodySessionAuthentication)
    parser_classes = (MultiPartParser,)
    keyset: ClassVar[tuple[str, ...]] = ("-id",)
    filters: ClassVar[tuple[str, ...]] = ("state",)

    def get_queryset(self) -> QuerySet[Capture]:
        """Return captures, of one state in filtered lists."""
        rows = selectors.capture_list()
        state = choice_filter(self.request, "state", CaptureState.values) if self.action == "list" else ""
        return rows.filter(state=state) if state else rows

    def initialize_request(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Request:
        """Have the file of an upload go straight to disk."""
        if request.method == "POST":
            self._handler = CaptureUploadHandler(settings.MAX_CAPTURE_BYTES)
            request.upload_handlers = [self._handler]
        return super().initialize_request(request, *args, **kwargs)

    @extend_schema(
        request={"multipart/form-data": CaptureUploadSerializer},
        responses={202: OpenApiResponse(CaptureSerializer)},
    )
    def create(self, request: Request) -> Response:
        """Keep a capture and start the job that reads it: ``Location`` is the job's address, ``job`` its id."""
        check_filters(request, (), paged=False)
        assert isinstance(request.user, User)
        if "HTTP_TRANSFER_ENCODING" in request.META:
            raise LengthMissingError
        try:
            serializer = CaptureUploadSerializer(data=request.data)
            serializer.is_valid(raise_exception=True)
            self._refuse_half(request)
            assert self._handler.stored is not None
            fields = {name: value for name, value in serializer.validated_data.items() if name != "file"}
            options = CaptureOptions(**fields)
            row, job = capture_create(upload=self._handler.stored, options=options, user=request.user)
        finally:
            self._handler.close()
            if self._handler.stored is not None:
                self._handler.stored.discard()
        headers = {"Location": f"/api/v1/jobs/{job.id}/"}
        return Response(CaptureSerializer(row).data, status=status.HTTP_202_ACCEPTED, headers=headers)

    def destroy(self, request: Request, pk: str) -> Response:
        """Delete a capture, its file and what was found in it; a job that still reads it is cancelled."""
        assert isinstance(request.user, User)
        capture_delete(row=self.get_object(), actor=request.user)
        return Response(status=status.HTTP_204_NO_CONTENT)

    def _refuse_half(self, request: Request) -> None:
        """A connection that ends early looks like an end of the body: fewer bytes came than were told."""
        told = request.META.get("CONTENT_LENGTH") or "0"
        stream = getattr(request._request, "_stream", None)
        came = getattr(stream, "_pos", None)
        if came is not None and told.isdigit() and came < int(told):
            raise IncompleteUploadError
