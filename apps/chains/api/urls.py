"""REST addresses of ``chains``."""

from django.urls import path
from rest_framework.routers import SimpleRouter

from apps.chains.api import placement_views, plan_views, views

router = SimpleRouter()
router.register("nf-types", views.NfTypeViewSet, basename="nf-type")
router.register("chains", views.ChainViewSet, basename="chain")
router.register("plans", plan_views.PlanViewSet, basename="chain-plan")
router.register("placements", placement_views.PlacementViewSet, basename="chain-placement")
router.register("deployments", plan_views.DeploymentViewSet, basename="chain-deployment")
router.register("alarms", views.AlarmViewSet, basename="chain-alarm")
urlpatterns = [
    *router.urls,
    path("steering/", plan_views.SteeringView.as_view(), name="chains-steering"),
    path("charts/<slug:slug>/", plan_views.ChartView.as_view(), name="chains-chart"),
]
