"""Views that lists, details and changes of the API are made from."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from django.db.models import Model
from rest_framework import mixins, status, viewsets
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import ModelSerializer

from nfvportal.rest.entity_tags import check_match, entity_tag
from nfvportal.rest.strict import check_filters


class ReadViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet[Any]):
    """List with keyset pages and strict filters; detail with an entity tag.

    ``keyset`` is the order of the list, ``filters`` the query parameters that it knows.
    """

    keyset: ClassVar[tuple[str, ...]] = ("id",)
    filters: ClassVar[tuple[str, ...]] = ()

    def list(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Return one page."""
        check_filters(request, self.filters)
        return super().list(request, *args, **kwargs)

    def retrieve(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Return one row with its entity tag."""
        check_filters(request, (), paged=False)
        return tagged(self.get_serializer(self.get_object()).data)


def tagged(data: Mapping[str, Any], status_code: int = status.HTTP_200_OK) -> Response:
    """Return an answer with the entity tag of its content."""
    return Response(data, status=status_code, headers={"ETag": entity_tag(data)})


def accepted(job_id: object, data: Mapping[str, Any]) -> Response:
    """Return 202 with the address of the job that does the work."""
    return Response(data, status=status.HTTP_202_ACCEPTED, headers={"Location": f"/api/v1/jobs/{job_id}/"})


class EditViewSet(ReadViewSet):
    """Also create, change and delete; changes of what exists need ``If-Match``.

    Subclasses save in ``save_entity`` and delete in ``delete_entity``, through their services.
    """

    http_method_names: Sequence[str] = ["get", "head", "options", "post", "put", "patch", "delete"]

    def save_entity(self, entity: Any) -> Any:
        """Save through the service."""
        raise NotImplementedError

    def delete_entity(self, entity: Any) -> None:
        """Delete through the service."""
        raise NotImplementedError

    def create(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Create one and answer 201 with its tag."""
        serializer = self.get_serializer(data=request.data)
        assert isinstance(serializer, ModelSerializer)
        serializer.is_valid(raise_exception=True)
        model: type[Model] = serializer.Meta.model
        entity = self.save_entity(model(**serializer.validated_data))
        return tagged(self.get_serializer(entity).data, status.HTTP_201_CREATED)

    def update(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Replace all fields."""
        return self._change(request, is_partial=False)

    def partial_update(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Change some fields."""
        return self._change(request, is_partial=True)

    def destroy(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Delete one."""
        entity = self.get_object()
        check_match(request, entity_tag(self.get_serializer(entity).data))
        self.delete_entity(entity)
        return Response(status=status.HTTP_204_NO_CONTENT)

    def _change(self, request: Request, *, is_partial: bool) -> Response:
        entity = self.get_object()
        check_match(request, entity_tag(self.get_serializer(entity).data))
        serializer = self.get_serializer(entity, data=request.data, partial=is_partial)
        serializer.is_valid(raise_exception=True)
        for name, value in serializer.validated_data.items():
            setattr(entity, name, value)
        return tagged(self.get_serializer(self.save_entity(entity)).data)
