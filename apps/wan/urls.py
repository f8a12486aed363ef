"""URLs of the WAN pages."""

from django.urls import path

from apps.wan import views

urlpatterns = [path("", views.index, name="wan")]
