"""Signing in and out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from django.contrib import messages
from django.contrib.auth import authenticate, logout
from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST

from console import sign_in as signing_in
from console.forms import SignInForm
from console.pages import page, person_name

WRONG = "This name and password do not go together. Check both and try again."
TOO_MANY = "Too many tries. Wait 15 minutes, or ask an administrator for a one-time sign-in link."


@dataclass(frozen=True)
class SignInPage:
    form: SignInForm
    next: str


@dataclass(frozen=True)
class SignInLinkPage:
    """`who` is empty when the link is unknown, used or too old: the page does not tell which."""

    who: str
    token: str


@never_cache
@sensitive_post_parameters("password")
@require_http_methods(["GET", "HEAD", "POST"])
def sign_in(request: HttpRequest) -> HttpResponse:
    back = _safe_next(request)
    if request.method == "GET":
        if request.user.is_authenticated:
            return redirect(back)
        return page(request, "console/accounts/sign_in.html", SignInPage(SignInForm(), back))
    form = SignInForm(request.POST)
    status = 422
    if form.is_valid():
        username = form.cleaned_data["username"]
        if signing_in.is_throttled(request, username):
            form.add_error(None, TOO_MANY)
            status = 429
        else:
            user = authenticate(request, username=username, password=form.cleaned_data["password"])
            if user is not None:
                signing_in.forget_failures(request, username)
                signing_in.sign_in(request, cast(User, user))
                return redirect(back)
            signing_in.count_failure(request, username)
            form.add_error(None, WRONG)
    return page(request, "console/accounts/sign_in.html", SignInPage(form, back), status=status)


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def sign_in_link(request: HttpRequest, token: str) -> HttpResponse:
    """Looking at the link does not use it up: mail scanners and previews look too. Only the button does."""
    if request.method == "POST":
        user = signing_in.use_link(token)
        if user is not None:
            signing_in.sign_in(request, user)
            return redirect("console:home")
        return page(request, "console/accounts/link.html", SignInLinkPage("", ""), status=410)
    link = signing_in.find_link(token)
    shown = SignInLinkPage(person_name(link.user), token) if link else SignInLinkPage("", "")
    return page(request, "console/accounts/link.html", shown, status=200 if link else 410)


@require_POST
def sign_out(request: HttpRequest) -> HttpResponse:
    logout(request)
    messages.success(request, "You are signed out.")
    return redirect("console:sign-in")


def _safe_next(request: HttpRequest) -> str:
    """Where to go after signing in: a path of ours, or home."""
    wanted = request.POST.get("next") or request.GET.get("next") or ""
    ours = url_has_allowed_host_and_scheme(wanted, allowed_hosts=None, require_https=request.is_secure())
    return wanted if wanted.startswith("/") and ours else reverse("console:home")
