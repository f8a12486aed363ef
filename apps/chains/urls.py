"""URLs of ``chains``."""

from django.urls import path

from apps.chains import views

urlpatterns = [path("", views.index, name="chains")]
