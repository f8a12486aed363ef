"""REST addresses of the lab."""

from django.urls import path

from nfvportal.testbed.api import views

urlpatterns = [
    path("", views.StatusView.as_view(), name="lab_status"),
    path("topologies/", views.TopologyView.as_view(), name="lab_topologies"),
    path("faults/", views.FaultsView.as_view(), name="lab_faults"),
    path("faults/<str:link>/", views.FaultView.as_view(), name="lab_fault"),
]
