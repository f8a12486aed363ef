"""REST addresses of ``chains``."""

from rest_framework.routers import SimpleRouter

from apps.chains.api import views

router = SimpleRouter()
router.register("nf-types", views.NfTypeViewSet, basename="nf-type")
router.register("chains", views.ChainViewSet, basename="chain")
router.register("alarms", views.AlarmViewSet, basename="chain-alarm")
urlpatterns = router.urls
