"""REST addresses of ``mptcp``."""

from django.urls import path
from rest_framework.routers import SimpleRouter

from apps.mptcp.api import accuracy_views, collector_views, decisions, sensor_views, uploads, views

router = SimpleRouter()
router.register("connections", views.ConnectionViewSet, basename="mptcp-connection")
router.register("subflows", views.SubflowViewSet, basename="mptcp-subflow")
router.register("captures", uploads.CaptureViewSet, basename="mptcp-capture")
router.register("alarms", views.AlarmViewSet, basename="mptcp-alarm")
router.register("domains", views.DomainViewSet, basename="mptcp-domain")
router.register("verdicts", decisions.VerdictViewSet, basename="mptcp-verdict")
router.register("subscriptions", decisions.SubscriptionViewSet, basename="mptcp-subscription")
router.register("changes", views.ChangeViewSet, basename="mptcp-change")
urlpatterns = [
    *router.urls,
    path("accuracy/", accuracy_views.AccuracyView.as_view(), name="mptcp-accuracy"),
    path(
        "captures/<int:pk>/accuracy/",
        accuracy_views.CaptureAccuracyView.as_view(),
        name="mptcp-capture-accuracy",
    ),
    path("sensors/", sensor_views.SensorsView.as_view(), name="mptcp-sensors"),
    path("sensors/<slug:device>/", sensor_views.SensorView.as_view(), name="mptcp-sensor"),
    path("collectors/", collector_views.CollectorsView.as_view(), name="mptcp-collectors"),
    path("collectors/<slug:device>/", collector_views.CollectorView.as_view(), name="mptcp-collector"),
    path("lookup/", views.LookupView.as_view(), name="mptcp-lookup"),
]
