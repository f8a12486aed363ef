"""The API's documentation, served from our own files."""

from django.urls import path

from nfvportal.rest.docs import docs

urlpatterns = [path("", docs, name="api_docs")]
