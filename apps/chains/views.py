"""Pages of chains. What they show comes over the live stream and REST; a page only says where it is."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render

from apps.chains.selectors import chain_get, plan_data, plan_list, steering_list
from nfvportal.accounts.access import Role, role_required


@role_required(Role.VIEWER)
def index(request: HttpRequest) -> HttpResponse:
    """List chains, state first."""
    return render(request, "chains/index.html")


@role_required(Role.VIEWER)
def catalogue(request: HttpRequest) -> HttpResponse:
    """Show the types of network functions and what each does to packets."""
    return render(request, "chains/catalogue.html")


@role_required(Role.VIEWER)
def placement(request: HttpRequest) -> HttpResponse:
    """Show where all chains would run together."""
    return render(request, "chains/placement.html")


@role_required(Role.OPERATOR)
def new(request: HttpRequest) -> HttpResponse:
    """Show an empty drawing board."""
    return render(request, "chains/chain.html", {"chain_name": "", "chain_title": ""})


@role_required(Role.VIEWER)
def chain(request: HttpRequest, name: str) -> HttpResponse:
    """Show one chain: live state, drawing board, plans."""
    row = chain_get(name)
    shown = {"chain_name": row.name, "chain_title": row.title or row.name, "steering": steering_list()}
    return render(request, "chains/chain.html", shown)


@role_required(Role.VIEWER)
def plan(request: HttpRequest, plan_id: int) -> HttpResponse:
    """Show one plan with its proof."""
    row = get_object_or_404(plan_list(), pk=plan_id)
    return render(request, "chains/plan.html", {"plan": plan_data(row)})
