"""URLs of the job pages."""

from django.urls import path

from nfvportal.jobs import views

urlpatterns = [
    path("", views.index, name="jobs"),
    path("<uuid:job_id>/", views.detail, name="job"),
]
