"""REST of one's own API tokens."""

from typing import Any, ClassVar

from django.contrib.auth.models import User
from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from nfvportal.accounts import services
from nfvportal.accounts.models import ApiToken
from nfvportal.accounts.selectors import TOKEN_STATES, token_data, token_list
from nfvportal.rest.permissions import OwnThings
from nfvportal.rest.strict import StrictSerializer
from nfvportal.rest.views import ReadViewSet


class TokenSerializer(serializers.Serializer[ApiToken]):
    """A token; never its text. Times are epoch seconds."""

    id = serializers.IntegerField()
    name = serializers.CharField()
    prefix = serializers.CharField()
    can_write = serializers.BooleanField()
    created_at_s = serializers.FloatField()
    expires_at_s = serializers.FloatField()
    last_used_at_s = serializers.FloatField(allow_null=True)
    state = serializers.ChoiceField(choices=TOKEN_STATES)

    def to_representation(self, instance: ApiToken) -> dict[str, Any]:
        """Return the same data as the page."""
        return dict(token_data(instance))


class TokenCreateSerializer(StrictSerializer):
    """What a new token should be."""

    name = serializers.CharField(max_length=100)
    days = serializers.IntegerField(min_value=1, max_value=services.MAX_TOKEN_DAYS, default=30)
    can_write = serializers.BooleanField(default=False)


class NewTokenSerializer(TokenSerializer):
    """A new token with its text, shown this once."""

    token = serializers.CharField()


class TokenViewSet(ReadViewSet):
    """One's own API tokens."""

    permission_classes = (OwnThings,)
    serializer_class = TokenSerializer
    keyset: ClassVar[tuple[str, ...]] = ("-created_at", "-id")
    lookup_value_converter = "int"

    def get_queryset(self) -> QuerySet[ApiToken]:
        """Return the asking user's tokens."""
        if not isinstance(self.request.user, User):
            return ApiToken.objects.none()
        return token_list(self.request.user)

    @extend_schema(request=TokenCreateSerializer, responses={201: NewTokenSerializer})
    def create(self, request: Request) -> Response:
        """Create a token and return its text, this once."""
        serializer = TokenCreateSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        assert isinstance(request.user, User)
        token, raw = services.api_token_create(user=request.user, **serializer.validated_data)
        return Response({**token_data(token), "token": raw}, status=status.HTTP_201_CREATED)

    @extend_schema(responses={204: None})
    def destroy(self, request: Request, pk: int) -> Response:
        """End a token; ending it twice does no harm."""
        assert isinstance(request.user, User)
        services.api_token_revoke(token=self.get_object(), actor=request.user)
        return Response(status=status.HTTP_204_NO_CONTENT)
