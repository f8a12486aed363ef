"""Login, logout and the page of one's own API tokens."""

from django.contrib.auth.models import User
from django.contrib.auth.views import LoginView, LogoutView
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_POST

from nfvportal.accounts import services
from nfvportal.accounts.access import Role, role_required
from nfvportal.accounts.forms import LoginForm, TokenForm
from nfvportal.accounts.selectors import token_data, token_list
from nfvportal.lib.errors import InvalidInputError

login = LoginView.as_view(
    template_name="accounts/login.html", authentication_form=LoginForm, redirect_authenticated_user=True
)
# The admin's own login form has no brake on guessing. No redirect here: the admin sends back whoever is not staff.
admin_login = LoginView.as_view(template_name="accounts/login.html", authentication_form=LoginForm)
logout = LogoutView.as_view()


@role_required(Role.VIEWER)
def tokens(request: HttpRequest) -> HttpResponse:
    """List one's own tokens; create one and show its text once."""
    user = request.user
    assert isinstance(user, User)
    form = TokenForm(request.POST or None)
    new_token = None
    if request.method == "POST" and form.is_valid():
        fields = form.cleaned_data
        try:
            _, new_token = services.api_token_create(
                user=user, name=fields["name"], days=fields["days"], can_write=fields["can_write"]
            )
            form = TokenForm()
        except InvalidInputError as error:
            form.add_error(error.field, error.limit)
    context = {
        "tokens": [token_data(token) for token in token_list(user)],
        "new_token": new_token,
        "form": form,
    }
    return render(request, "accounts/tokens.html", context)


@require_POST
@role_required(Role.VIEWER)
def token_revoke(request: HttpRequest, token_id: int) -> HttpResponse:
    """End one of one's own tokens."""
    user = request.user
    assert isinstance(user, User)
    services.api_token_revoke(token=get_object_or_404(token_list(user), pk=token_id), actor=user)
    return redirect("tokens")
