"""URL of the home page."""

from django.urls import path

from nfvportal.overview import views

urlpatterns = [path("", views.index, name="overview")]
