"""The forms of the console. They check shape and say what to do; the rules are in the services."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from django import forms
from django.core.files.uploadedfile import UploadedFile

from agents.models import Agent, Environment, Workspace


class SignInForm(forms.Form):
    username = forms.CharField(
        label="Name",
        max_length=150,
        widget=forms.TextInput(attrs={"autocomplete": "username", "autofocus": True, "autocapitalize": "none"}),
    )
    password = forms.CharField(
        label="Password",
        strip=False,
        max_length=4096,
        widget=forms.PasswordInput(attrs={"autocomplete": "current-password"}),
    )


class MultipleFileInput(forms.ClearableFileInput):
    allow_multiple_selected = True


class FilesField(forms.FileField):
    """Any number of uploads."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(widget=MultipleFileInput(), **kwargs)

    def clean(self, data: Any, initial: Any = None) -> list[UploadedFile]:
        given = data if isinstance(data, list | tuple) else [data] if data else []
        return [super(FilesField, self).clean(file, initial) for file in given]


class NewSessionForm(forms.Form):
    agent = forms.ModelChoiceField(
        queryset=Agent.objects.none(),
        to_field_name="public_id",
        empty_label=None,
        help_text="Its current version is used, and kept for the whole session.",
    )
    environment = forms.ModelChoiceField(
        queryset=Environment.objects.none(),
        to_field_name="public_id",
        empty_label=None,
        help_text="Where its tools run.",
    )
    title = forms.CharField(required=False, max_length=500, help_text="Helps to find it again.")
    message = forms.CharField(
        required=False,
        strip=False,
        widget=forms.Textarea(attrs={"rows": 6}),
        label="First message",
        help_text="What the agent should do. Without one the session waits for you.",
    )
    uploads = FilesField(required=False, help_text="The agent reads them under /mnt/session/uploads/ by their names.")

    def __init__(self, *args: Any, workspace: Workspace, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        agents = Agent.objects.in_workspace(workspace).unarchived().filter(imported=False)
        environments = Environment.objects.in_workspace(workspace).unarchived()
        for name, rows in (("agent", agents), ("environment", environments)):
            field: forms.ModelChoiceField[Any] = self.fields[name]  # type: ignore[assignment]
            field.queryset = rows.order_by("name", "pk")


class MessageForm(forms.Form):
    """What a person says to a running or resting session."""

    text = forms.CharField(
        label="Message",
        strip=False,
        max_length=200_000,
        widget=forms.Textarea(attrs={"rows": 2, "placeholder": "Message the agent"}),
        error_messages={"required": "Write a message first."},
    )

    def clean_text(self) -> str:
        text: str = self.cleaned_data["text"]
        if not text.strip():
            raise forms.ValidationError("Write a message first.")
        return text.replace("\r\n", "\n")


class BudgetForm(forms.Form):
    """A session's new budget in dollars, or that it has none any more."""

    dollars = forms.DecimalField(required=False, min_value=Decimal("0.01"), max_digits=12, decimal_places=2)
    remove = forms.BooleanField(required=False)

    def clean(self) -> dict[str, Any]:
        values: dict[str, Any] = super().clean() or self.cleaned_data
        if not values.get("remove") and values.get("dollars") is None:
            raise forms.ValidationError("Write an amount.")
        return values

    def budget(self) -> dict[str, Any] | None:
        """As the API writes it; None to remove it."""
        if self.cleaned_data["remove"]:
            return None
        amount = str(int(self.cleaned_data["dollars"] * 100))
        return {"type": "limit", "max_list_cost": {"amount": amount, "currency": "USD"}}


class ConfirmationForm(forms.Form):
    """Allow a tool call, or refuse it with a reason for the agent."""

    result = forms.ChoiceField(choices=[("allow", "Allow"), ("deny", "Refuse")])
    deny_message = forms.CharField(required=False, max_length=4000, label="Reason, if you refuse")


class ToolAnswerForm(forms.Form):
    """The result of a custom tool, given by hand."""

    content = forms.CharField(label="Result", strip=False, max_length=200_000, widget=forms.Textarea(attrs={"rows": 3}))
    is_error = forms.BooleanField(required=False, label="The tool failed")


class EnvironmentForm(forms.Form):
    NETWORKS = [
        ("unrestricted", "Unrestricted: the agent's tools may reach any host"),
        ("limited", "Limited: no host is reachable"),
    ]
    name = forms.CharField(max_length=256, help_text="Has to be unique in this workspace.")
    description = forms.CharField(required=False, max_length=2048, widget=forms.Textarea(attrs={"rows": 2}))
    network = forms.ChoiceField(choices=NETWORKS, widget=forms.RadioSelect, initial="limited")

    def values(self) -> dict[str, Any]:
        """The body of a create request."""
        data = self.cleaned_data
        body: dict[str, Any] = {
            "name": data["name"],
            "config": {"type": "cloud", "networking": {"type": data["network"]}},
        }
        if data["description"]:
            body["description"] = data["description"]
        return body


class ApiKeyForm(forms.Form):
    name = forms.CharField(
        max_length=200,
        help_text="Where it will be used, so that it can be recognised later: “nightly job”, “Ana's laptop”.",
    )
