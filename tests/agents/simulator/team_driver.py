"""Drives a simulated lead and the agents it starts: the engine's delegation in a hundred lines, in any order."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass, field

from agents.errors import ProviderError
from agents.ids import new_id
from tests.agents.simulator.driver import FILE_TOOLS, ask

LEAD_TOOLS = ("spawn_agent", "send_to_agent", "list_agents", "wait_for_agents", "stop_agent")
PLACES = 25


def text_block(text):
    return {"type": "text", "text": text}


def from_lead(*texts):
    return {"role": "user", "content": [text_block("[Message from the lead]"), *map(text_block, texts)]}


def from_agent(name, thread_id, *texts):
    header = text_block(f'[Message from agent "{name}" ({thread_id})]')
    return {"role": "user", "content": [header, *map(text_block, texts)]}


@dataclass
class Thread:
    model: str
    name: str
    ordinal: int
    tools: tuple = ()
    thread_id: str = field(default_factory=lambda: new_id("sthr"))
    status: str = "running"
    messages: list = field(default_factory=list)
    answers: list = field(default_factory=list)
    calls: list = field(default_factory=list)

    def wire(self):
        return {"thread_id": self.thread_id, "agent": self.name, "status": self.status}


class Team:
    """`roster` maps names to models. `order` seeds in which order children work; `reports` may change a report."""

    def __init__(self, sandbox, lead, roster, *, order=0, tools=("bash", *FILE_TOOLS), reports=None, max_answers=400):
        self.sandbox = sandbox
        self.roster = roster
        self.tools = tools
        self.random = random.Random(order)
        self.change_report = reports or (lambda thread, text: text)
        self.max_answers = max_answers
        self.lead = Thread(lead, "Lead", 0, (*tools, *LEAD_TOOLS))
        self.children: list[Thread] = []
        self.mail: list[tuple[Thread, str]] = []

    def say(self, text):
        """A person's message; the lead's last words when nobody works any more."""
        self.lead.messages.append({"role": "user", "content": [text_block(text)]})
        self._run(self.lead)
        while self._working():
            self._work_all()
            for mail in self.mail:
                self.lead.messages.append(from_agent(mail[0].name, mail[0].thread_id, mail[1]))
                self._run(self.lead)
            self.mail.clear()
        return self.last_words(self.lead)

    @staticmethod
    def last_words(thread):
        return "".join(b["text"] for b in thread.answers[-1].content if b["type"] == "text")

    def _working(self):
        return [child for child in self.children if child.status == "running"]

    def _work_all(self):
        """Children finish in some order; reports that are waited for come sorted by thread all the same."""
        working = self._working()
        self.random.shuffle(working)
        for child in working:
            try:
                self._run(child)
            except ProviderError as error:
                child.status = "terminated"
                self.mail.append((child, f"This agent failed: {error}"))
                continue
            child.status = "idle"
            self.mail.append((child, self.change_report(child, self.last_words(child))))

    def _run(self, thread):
        for _ in range(self.max_answers):
            seed = f"0/{thread.ordinal}/{len(thread.answers)}/1"
            answer = ask(thread.model, thread.messages, thread.tools, seed=seed)[-1]
            thread.answers.append(answer)
            thread.messages.append({"role": "assistant", "content": answer.content})
            if answer.stop_reason not in ("tool_use", "pause_turn"):
                return
            uses = [block for block in answer.content if block["type"] == "tool_use"]
            if uses:
                thread.messages.append({"role": "user", "content": [self._result(thread, use) for use in uses]})
            if any(use["name"] == "wait_for_agents" for use in uses):
                self._deliver()
        raise AssertionError(f"{thread.name} did not end its turn in {self.max_answers} answers.")

    def _deliver(self):
        for child, text in sorted(self.mail, key=lambda item: item[0].ordinal):
            self.lead.messages.append(from_agent(child.name, child.thread_id, text))
        self.mail.clear()

    def _result(self, thread, use):
        thread.calls.append((use["name"], use["input"]))
        if use["name"] in LEAD_TOOLS:
            content, is_error = getattr(self, "_" + use["name"])(use["input"])
            content = content if is_error else json.dumps(content)
        elif use["name"] == "send_to_parent":
            self.mail.append((thread, use["input"]["message"]))
            content, is_error = '{"delivered": true}', False
        else:
            content, is_error = self.sandbox.run(use["name"], use["input"])
        block = {"type": "tool_result", "tool_use_id": use["id"], "content": [text_block(content)]}
        return {**block, "is_error": True} if is_error else block

    def _spawn_agent(self, given):
        if len([child for child in self.children if child.status != "terminated"]) >= PLACES:
            return f"There are {PLACES} agents already, which is the most at a time.", True
        if given["agent"] not in self.roster:
            return f"There is no agent named {given['agent']!r}.", True
        child = Thread(
            self.roster[given["agent"]], given["agent"], len(self.children) + 1, (*self.tools, "send_to_parent")
        )
        files = given.get("files") or []
        listed = "\n\nFiles:\n" + "\n".join(f"- {path}" for path in files) if files else ""
        child.messages.append(from_lead(given["task"] + listed))
        self.children.append(child)
        return {"thread_id": child.thread_id, "agent": child.name}, False

    def _child(self, thread_id):
        return next((c for c in self.children if c.thread_id == thread_id and c.status != "terminated"), None)

    def _send_to_agent(self, given):
        if (child := self._child(given["thread_id"])) is None:
            return f"The thread {given['thread_id']} has ended.", True
        child.messages.append(from_lead(given["message"]))
        child.status = "running"
        return {"delivered": True, "thread_id": child.thread_id}, False

    def _list_agents(self, given):
        agents = [{"name": name, "description": None} for name in self.roster]
        alive = [child for child in self.children if child.status != "terminated"]
        threads = [child.wire() for child in self.children]
        return {"agents": agents, "threads": threads, "free_places": PLACES - len(alive)}, False

    def _wait_for_agents(self, given):
        working = self._working()
        self._work_all()
        return {"finished": [child.wire() for child in working], "working": [], "timed_out": False}, False

    def _stop_agent(self, given):
        if (child := self._child(given["thread_id"])) is None:
            return f"The thread {given['thread_id']} has ended.", True
        child.status = "terminated"
        return {"stopped": True, "thread_id": child.thread_id}, False
