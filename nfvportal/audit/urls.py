"""URLs of the audit log."""

from django.urls import path

from nfvportal.audit import views

urlpatterns = [path("", views.index, name="audit")]
