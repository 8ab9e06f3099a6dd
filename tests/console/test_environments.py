"""Environments: where sessions run."""

from __future__ import annotations

import pytest

from agents.models import Environment
from agents.services import environments as services
from tests import factories
from tests.console.html import Page


@pytest.fixture
def environment(workspace):
    return factories.make_environment(workspace, name="Lab bench", description="For tests")


def path(environment, rest=""):
    return f"/environments/{environment.public_id}{rest}"


def test_the_empty_list_says_what_they_are(page):
    shown = Page(page.get("/environments"))
    assert "An environment says where the tools of a session run" in shown.text
    assert "/environments/new" in shown.hrefs()


def test_the_list_shows_name_and_network(page, environment, elsewhere):
    factories.make_environment(elsewhere, name="Theirs")
    text = Page(page.get("/environments")).text
    assert "Lab bench For tests unrestricted just now" in text
    assert "Theirs" not in text


@pytest.mark.parametrize("where", ["/environments", "/environments/new", "page"])
def test_a_network_that_the_server_keeps_off_is_said_everywhere(page, environment, settings, where):
    address = path(environment) if where == "page" else where
    settings.DAYBREAK_SANDBOX_NETWORK = "off"
    assert "gives sandboxes no network" in Page(page.get(address)).text
    settings.DAYBREAK_SANDBOX_NETWORK = "host"
    assert "gives sandboxes no network" not in Page(page.get(address)).text


@pytest.mark.parametrize("n", [1, 20])
def test_the_list_takes_the_same_queries_however_many_there_are(page, workspace, django_assert_num_queries, n):
    for number in range(n):
        factories.make_environment(workspace, name=f"env {number}")
    with django_assert_num_queries(4):
        assert page.get("/environments").status_code == 200


def test_creating_one(page, workspace):
    given = {"name": "Sealed", "description": "No way out", "network": "limited"}
    answer = page.post("/environments/new", given)
    made = Environment.objects.get()
    assert answer["Location"] == path(made)
    assert (made.name, made.description) == ("Sealed", "No way out")
    assert made.config["networking"]["type"] == "limited"


def test_a_name_that_is_taken_is_said_beside_the_name(page, environment):
    answer = page.post("/environments/new", {"name": "Lab bench", "network": "limited"})
    assert answer.status_code == 422
    shown = Page(answer)
    assert "Choose a different name" in shown.text
    assert 'id="id_name_error"' in shown.source
    assert Environment.objects.count() == 1


def test_an_empty_form_names_what_is_missing(page):
    answer = page.post("/environments/new", {})
    assert answer.status_code == 422
    assert "This field is required" in Page(answer).text


def test_its_page_shows_configuration_code_and_sessions(page, environment, workspace):
    text = Page(page.get(path(environment))).text
    assert "type: unrestricted" in text
    assert "client.beta.environments.create(" in text
    assert "No session has used it yet" in text


def test_archiving_hides_it_from_the_list(page, environment):
    assert Page(page.get(path(environment))).find_all("dialog", id="archive-environment")
    page.post(path(environment, "/archive"))
    assert path(environment) not in Page(page.get("/environments")).hrefs()
    assert path(environment) in Page(page.get("/environments?archived=1")).hrefs()
    assert "archived" in Page(page.get(path(environment))).text


def test_one_that_was_never_used_can_be_deleted(page, environment):
    answer = page.post(path(environment, "/delete"), follow=True)
    assert "Lab bench was deleted" in Page(answer).text
    assert not Environment.objects.exists()


def test_one_in_use_stays_and_says_why(page, workspace):
    session = factories.make_session(workspace)
    answer = page.post(path(session.environment, "/delete"), follow=True)
    assert "Archive it instead" in Page(answer).text
    assert Environment.objects.exists()


def test_an_archived_one_is_not_offered_for_new_sessions(page, environment, workspace):
    factories.make_agent(workspace)
    services.archive_environment(environment)
    assert "One more thing: an environment" in Page(page.get("/sessions/new")).text
