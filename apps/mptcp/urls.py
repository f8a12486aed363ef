"""URLs of the pages of ``mptcp``."""

from django.urls import path

from apps.mptcp import views

urlpatterns = [
    path("", views.index, name="mptcp"),
    path("upload/", views.upload, name="mptcp-upload"),
    path("accuracy/", views.accuracy, name="mptcp-accuracy-page"),
    path("captures/<int:capture_id>/", views.capture, name="mptcp-capture-page"),
    path("connections/<int:connection_id>/", views.connection, name="mptcp-connection-page"),
]
