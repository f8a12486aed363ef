"""REST addresses of the inventory."""

from rest_framework.routers import SimpleRouter

from nfvportal.inventory.api import views

router = SimpleRouter()
router.register("sites", views.SiteViewSet, basename="site")
router.register("devices", views.DeviceViewSet, basename="device")
router.register("interfaces", views.InterfaceViewSet, basename="interface")
router.register("links", views.LinkViewSet, basename="link")
urlpatterns = router.urls
