"""The form of an agent, and the way between it and the definition the services know."""

from __future__ import annotations

import json
from typing import Any

from django import forms

from agents.api.schemas import parse
from agents.errors import DaybreakError
from agents.models import Agent, Workspace
from agents.providers.catalog import list_models
from agents.providers.catalog_file import CatalogInvalid
from agents.services import agents
from agents.services.toolsets import AGENT_TOOLSET, BUILT_IN_TOOLS
from console.roster_form import RosterFields, initial_roster, is_choosable

Wire = dict[str, Any]

ALLOW, ASK, OFF = "allow", "ask", "off"
POLICIES = [(ALLOW, "runs by itself"), (ASK, "asks a person first"), (OFF, "is off")]
WHAT_TOOLS_DO = {
    "bash": "runs commands in the sandbox's shell",
    "read": "reads files",
    "write": "writes whole files",
    "edit": "changes parts of files",
    "glob": "finds files by name",
    "grep": "finds lines by pattern",
    "web_fetch": "reads web pages; not built yet, answers with an error",
    "web_search": "searches the web; not built yet, answers with an error",
}
IN_REST = ("mcp_servers", "skills", "multiagent", "metadata")
EMPTY_REST: Wire = {"tools": [], "mcp_servers": [], "skills": [], "multiagent": None, "metadata": {}}


class AgentForm(RosterFields):
    """Everything about an agent. What has no field of its own is in `rest`, as the JSON the API takes."""

    name = forms.CharField(max_length=256)
    description = forms.CharField(required=False, max_length=2048, widget=forms.Textarea(attrs={"rows": 2}))
    model = forms.CharField(
        max_length=200,
        widget=forms.TextInput(attrs={"list": "known-models", "autocomplete": "off", "spellcheck": "false"}),
        help_text="Choose one or type any model id. simulated/… works without a key and costs nothing.",
    )
    system = forms.CharField(
        required=False,
        strip=False,
        label="System prompt",
        widget=forms.Textarea(attrs={"rows": 10, "spellcheck": "false", "class": "code"}),
        help_text="Who the agent is and how it works. Up to 100,000 characters.",
    )
    toolset = forms.BooleanField(required=False, initial=True, label="Give it the built-in tools")
    rest = forms.CharField(
        required=False,
        strip=False,
        label="Everything else, as JSON",
        widget=forms.Textarea(attrs={"rows": 8, "spellcheck": "false", "class": "code"}),
        help_text="Custom tools, MCP toolsets and servers, skills, metadata: as in the API. "
        "The team can also be written here, as multiagent, when nobody is chosen above.",
    )
    version = forms.IntegerField(required=False, widget=forms.HiddenInput)

    def __init__(
        self, *args: Any, workspace: Workspace, owner: Agent | None = None, current: Wire | None = None, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self.offer(workspace, owner=owner, stored=(current or {}).get("multiagent"))
        if not self.is_bound and self.known_models:
            self.fields["model"].initial = self.known_models[0][0]
        for tool in BUILT_IN_TOOLS:
            self.fields[f"tool_{tool}"] = forms.ChoiceField(
                required=False, choices=POLICIES, initial=ALLOW, label=tool, help_text=WHAT_TOOLS_DO[tool]
            )

    @property
    def tool_fields(self) -> list[forms.BoundField]:
        return [self[f"tool_{tool}"] for tool in BUILT_IN_TOOLS]

    @property
    def known_models(self) -> list[tuple[str, str]]:
        """Ids and names to choose from; none when the catalogue file is broken, which `doctor` explains."""
        try:
            return [(model.id, model.display_name) for model in list_models()]
        except CatalogInvalid:
            return []

    def clean_rest(self) -> Wire:
        text: str = self.cleaned_data["rest"].strip()
        if not text:
            return dict(EMPTY_REST)
        try:
            rest = json.loads(text)
        except ValueError as exc:
            raise forms.ValidationError(f"This is not JSON: {exc}") from exc
        if not isinstance(rest, dict):
            raise forms.ValidationError("Write a JSON object: { … }.")
        unknown = sorted(set(rest) - set(EMPTY_REST))
        if unknown:
            raise forms.ValidationError(f"{', '.join(unknown)}: not known here. Known are {', '.join(EMPTY_REST)}.")
        if not isinstance(rest.get("tools", []), list):
            raise forms.ValidationError("tools: must be a list.")
        return {**EMPTY_REST, **rest}

    def clean(self) -> dict[str, Any]:
        """The team is said in one place only."""
        if self.has_team and self.cleaned_data.get("rest", EMPTY_REST)["multiagent"] is not None:
            self.add_error("rest", "The team is chosen above. Take multiagent out here, or choose nobody above.")
        return self.cleaned_data

    def blame(self, exc: DaybreakError, current: Wire | None = None) -> None:
        """Put a service's complaint beside the field it is about."""
        root = exc.message.split(":", 1)[0].split(".", 1)[0].strip()
        if root == "multiagent" and self.has_team:
            self.add_error("team", self.said_of_team(exc, self.roster((current or {}).get("multiagent"))))
            return
        own = {"name": "name", "description": "description", "model": "model", "system": "system"}
        in_rest = root in EMPTY_REST
        self.add_error(own.get(root, "rest" if in_rest else None), exc.message)


def initial_of(definition: Wire, version: int) -> dict[str, Any]:
    """The form's initial values for an existing definition."""
    toolset = _toolset(definition)
    rest = {key: definition.get(key) for key in IN_REST}
    team = definition.get("multiagent")
    rest["multiagent"] = None if is_choosable(team) else team
    others = [tool for tool in definition.get("tools", []) if tool.get("type") != AGENT_TOOLSET]
    return {
        "name": definition["name"],
        "description": definition.get("description") or "",
        "model": definition["model"]["id"],
        "system": definition.get("system") or "",
        "toolset": toolset is not None,
        "rest": json.dumps({"tools": others, **rest}, indent=2, ensure_ascii=False),
        "version": version,
        **initial_roster(team),
        **{f"tool_{tool}": _policy_of(toolset, tool) for tool in BUILT_IN_TOOLS},
    }


def _toolset(definition: Wire) -> Wire | None:
    return next((tool for tool in definition.get("tools", []) if tool.get("type") == AGENT_TOOLSET), None)


def _policy_of(toolset: Wire | None, tool: str) -> str:
    if toolset is None:
        return ALLOW
    config = next((c for c in toolset["configs"] if c["name"] == tool), toolset["default_config"])
    if not config["enabled"]:
        return OFF
    return ASK if config["permission_policy"]["type"] == "always_ask" else ALLOW


def definition_from(form: AgentForm, current: Wire | None = None) -> Wire:
    """The body of a create request. Options of built-in tools that have no field are kept from `current`."""
    data = form.cleaned_data
    rest: Wire = dict(data["rest"])
    if form.has_team:
        rest["multiagent"] = form.roster((current or {}).get("multiagent"))
    tools = rest.pop("tools")
    if data["toolset"]:
        tools = [_toolset_from(data, _toolset(current or {})), *tools]
    body: Wire = {"name": data["name"], "model": data["model"], "tools": tools}
    for key in ("description", "system"):
        body[key] = data[key].replace("\r\n", "\n") or None
    return {**body, **rest}


def _toolset_from(data: dict[str, Any], kept: Wire | None) -> Wire:
    if kept and all((data[f"tool_{tool}"] or ALLOW) == _policy_of(kept, tool) for tool in BUILT_IN_TOOLS):
        return kept
    configs = []
    for tool in BUILT_IN_TOOLS:
        policy = data[f"tool_{tool}"] or ALLOW
        before: Wire = next((c for c in (kept or {}).get("configs", []) if c["name"] == tool), {})
        own = ("enabled", "permission_policy", "type")
        options = {key: value for key, value in before.items() if key not in own and value is not None}
        if policy == ALLOW and not options.keys() - {"name"}:
            continue
        wish = "always_ask" if policy == ASK else "always_allow"
        configs.append({**options, "name": tool, "enabled": policy != OFF, "permission_policy": {"type": wish}})
    return {"type": AGENT_TOOLSET, "configs": configs}


def create(workspace: Workspace, form: AgentForm) -> Agent:
    """Raises Invalid, for `form.blame`."""
    body = {key: value for key, value in definition_from(form).items() if value not in (None, [], {})}
    return agents.create_agent(workspace, definition=parse("agents.create", body))


def update(agent: Agent, form: AgentForm, current: Wire) -> Agent:
    """A new version when something changed. Raises Invalid, and Conflict when somebody was quicker."""
    wanted = definition_from(form, current)
    wanted["metadata"] = {**dict.fromkeys(current["metadata"]), **wanted["metadata"]}
    if wanted["model"] == current["model"]["id"]:
        del wanted["model"]  # the same model keeps its effort
    changes = {key: value for key, value in wanted.items() if key not in current or value != current[key]}
    return agents.update_agent(
        agent, changes=parse("agents.update", changes), expected_version=form.cleaned_data["version"]
    )
