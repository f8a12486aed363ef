"""URLs of ``cluster``."""

from django.urls import path

from apps.cluster import views

urlpatterns = [path("", views.index, name="cluster")]
