"""Everything the runtime stores. One module per noun; import from here."""

from agents.models.agents import Agent, AgentVersion
from agents.models.annotations import Annotation
from agents.models.blobs import Blob
from agents.models.environments import Environment
from agents.models.events import Event
from agents.models.files import File, SessionResource
from agents.models.people import ApiKey, Membership, SignInLink, Workspace
from agents.models.provider_holds import ProviderHold
from agents.models.search import SearchProgress, SearchText, SessionFacet
from agents.models.sessions import Session
from agents.models.shared_files import FileVersion, SeenFile
from agents.models.steps import ModelAttempt, Step, ToolCall
from agents.models.threads import Thread
from agents.models.traces import Trace, TraceSpan

__all__ = [
    "Agent",
    "AgentVersion",
    "Annotation",
    "ApiKey",
    "Blob",
    "Environment",
    "Event",
    "File",
    "FileVersion",
    "Membership",
    "ModelAttempt",
    "ProviderHold",
    "SearchProgress",
    "SearchText",
    "SeenFile",
    "Session",
    "SessionFacet",
    "SessionResource",
    "SignInLink",
    "Step",
    "Thread",
    "ToolCall",
    "Trace",
    "TraceSpan",
    "Workspace",
]
