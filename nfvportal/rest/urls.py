"""The OpenAPI document, and the answer to API addresses that do not exist."""

from django.urls import path, re_path
from drf_spectacular.views import SpectacularAPIView

from nfvportal.rest.problems import not_found

urlpatterns = [
    path("schema/", SpectacularAPIView.as_view(), name="api_schema"),
    re_path(r"^.*$", not_found, name="api_not_found"),
]
