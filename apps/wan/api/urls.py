"""REST addresses of ``wan``."""

from django.urls import path
from rest_framework.routers import SimpleRouter

from apps.wan.api import views

router = SimpleRouter()
router.register("links", views.WanLinkViewSet, basename="wan-link")
router.register("virtual-subnets", views.VirtualSubnetViewSet, basename="virtual-subnet")
router.register("map-epochs", views.MapEpochViewSet, basename="map-epoch")
router.register("failovers", views.FailoverViewSet, basename="failover")
urlpatterns = [
    *router.urls,
    path("map/", views.MapView.as_view(), name="wan-map"),
    path("samples/", views.SampleView.as_view(), name="wan-samples"),
    path("charts/<slug:name>/", views.ChartView.as_view(), name="wan-chart"),
]
