"""URLs of ``mptcp``."""

from django.urls import path

from apps.mptcp import views

urlpatterns = [path("", views.index, name="mptcp")]
