"""URLs of the pages of chains."""

from django.urls import path

from apps.chains import views

urlpatterns = [
    path("", views.index, name="chains"),
    path("new/", views.new, name="chain-new"),
    path("catalogue/", views.catalogue, name="chain-catalogue"),
    path("placement/", views.placement, name="chain-placement"),
    path("plans/<int:plan_id>/", views.plan, name="chain-plan"),
    path("<slug:name>/", views.chain, name="chain"),
]
