"""REST of what is decided about connections, and of who is told: verdicts, subscriptions."""

from typing import Any, ClassVar

from django.contrib.auth.models import User
from django.db.models import QuerySet
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_view
from rest_framework import status
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from apps.mptcp import selectors
from apps.mptcp.api.serializers import (
    SubscriptionCreateSerializer,
    SubscriptionMadeSerializer,
    SubscriptionSerializer,
    UndoSerializer,
    VerdictCreateSerializer,
    VerdictRowSerializer,
)
from apps.mptcp.models import Subscription, Verdict
from apps.mptcp.services.verdicts import VerdictRefusedError, verdict_create, verdict_undo
from apps.mptcp.services.webhooks import subscription_create, subscription_delete
from nfvportal.accounts.access import Role
from nfvportal.rest.permissions import RolePermission
from nfvportal.rest.problems import ConflictError
from nfvportal.rest.strict import check_filters, choice_filter
from nfvportal.rest.views import ReadViewSet


@extend_schema_view(
    list=extend_schema(parameters=[OpenApiParameter("state", OpenApiTypes.STR, enum=["open", "ended"])])
)
class VerdictViewSet(ReadViewSet):
    """Verdicts on connections, newest first."""

    serializer_class = VerdictRowSerializer
    keyset: ClassVar[tuple[str, ...]] = ("-id",)
    filters: ClassVar[tuple[str, ...]] = ("state",)

    def get_queryset(self) -> QuerySet[Verdict]:
        """Return verdicts, open or ended ones in filtered lists."""
        rows = Verdict.objects.all()
        state = choice_filter(self.request, "state", ("open", "ended")) if self.action == "list" else ""
        return rows.filter(ended_at__isnull=state == "open") if state else rows

    @extend_schema(request=VerdictCreateSerializer, responses={201: VerdictRowSerializer})
    def create(self, request: Request) -> Response:
        """Stop a connection, its later subflows too; 409 says why not, e.g. for weak evidence without ``force``."""
        check_filters(request, (), paged=False)
        serializer = VerdictCreateSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        fields = serializer.validated_data
        assert isinstance(request.user, User)
        try:
            row = verdict_create(
                connection=selectors.connection_get(fields["connection"]),
                reason=fields["reason"],
                expires_in_s=fields["expires_in_s"],
                is_forced=fields["force"],
                user=request.user,
            )
        except VerdictRefusedError as error:
            raise ConflictError(str(error)) from error
        return Response(VerdictRowSerializer(row).data, status=status.HTTP_201_CREATED)

    @extend_schema(request=UndoSerializer, responses=VerdictRowSerializer)
    @action(detail=True, methods=["post"])
    def undo(self, request: Request, pk: str) -> Response:
        """End a verdict now; one that is over stays as it ended."""
        serializer = UndoSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        assert isinstance(request.user, User)
        actor, reason = request.user.get_username(), serializer.validated_data["reason"]
        return Response(
            VerdictRowSerializer(verdict_undo(row=self.get_object(), actor=actor, reason=reason)).data
        )


class OperatorOnly(RolePermission):
    """Addresses of subscribers are not for everybody."""

    reads = Role.OPERATOR


@extend_schema_view(destroy=extend_schema(responses={204: None}))
class SubscriptionViewSet(ReadViewSet):
    """Webhooks; browsers follow the live topics instead, programs may also ask ``changes/?after=``."""

    serializer_class = SubscriptionSerializer
    permission_classes = (OperatorOnly,)

    def get_queryset(self) -> QuerySet[Subscription]:
        """Return all subscriptions."""
        return Subscription.objects.all()

    @extend_schema(request=SubscriptionCreateSerializer, responses={201: SubscriptionMadeSerializer})
    def create(self, request: Request) -> Response:
        """Add a webhook; the answer holds the secret of its signatures, shown this once."""
        check_filters(request, (), paged=False)
        serializer = SubscriptionCreateSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        assert isinstance(request.user, User)
        row, secret = subscription_create(user=request.user, **serializer.validated_data)
        data: dict[str, Any] = {**SubscriptionSerializer(row).data, "secret": secret}
        return Response(data, status=status.HTTP_201_CREATED)

    def destroy(self, request: Request, pk: str) -> Response:
        """Remove a webhook."""
        assert isinstance(request.user, User)
        subscription_delete(row=self.get_object(), user=request.user)
        return Response(status=status.HTTP_204_NO_CONTENT)
