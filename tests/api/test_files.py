"""`/v1/files`, through `client.files` and `client.beta.files`."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import anthropic
import pytest
from anthropic.types import FileMetadata
from anthropic.types.beta import BetaFileMetadata
from anthropic.types.file_expired_error import FileExpiredError
from anthropic.types.file_not_downloadable_error import FileNotDownloadableError
from django.db import transaction

from agents.models import Blob, File, Session
from agents.services import agents, blobs, environments
from tests.api.strict import check

MANAGED_AGENTS = "managed-agents-2026-04-01"


@pytest.fixture
def session(workspace: Any) -> Session:
    from agents.services import sessions

    agent = agents.create_agent(workspace, definition={"name": "Ada", "model": "simulated/default"})
    environment = environments.create_environment(workspace, definition={"name": "E"})
    values = {"agent": agent.public_id, "environment_id": environment.public_id}
    return sessions.create_session(workspace, values=values, sender="tests")


def make_output(
    session: Session, name: str = "report.md", data: bytes = b"# Done", mime: str = "text/markdown"
) -> File:
    return File.objects.create(
        workspace=session.workspace,
        session=session,
        kind=File.Kind.OUTPUT,
        filename=name,
        mime_type=mime,
        size_bytes=len(data),
        sha256=blobs.store_bytes(data),
        path=f"/mnt/session/outputs/{name}",
    )


@pytest.mark.conformance(87)
def test_an_upload_is_kept_but_not_downloadable(client, raw):
    file = client.beta.files.upload(file=("logs.txt", b"line 1\nline 2\n", "text/plain"))
    body = raw.get(f"/v1/files/{file.id}").json()
    check(BetaFileMetadata, body)
    check(FileMetadata, body)
    assert body == {
        "id": file.id,
        "type": "file",
        "filename": "logs.txt",
        "mime_type": "text/plain",
        "size_bytes": 14,
        "created_at": body["created_at"],
        "downloadable": False,
        "expires_at": None,
    }
    stored = File.objects.get(public_id=file.id)
    assert stored.sha256 == hashlib.sha256(b"line 1\nline 2\n").hexdigest()
    assert blobs.read_blob(stored.sha256) == b"line 1\nline 2\n"
    with pytest.raises(FileNotDownloadableError):
        client.beta.files.download(file.id)


def test_the_ga_client_works_the_same(client):
    file = client.files.upload(file=("a.csv", b"1,2\n"))
    assert file.mime_type == "text/csv"
    assert client.files.retrieve_metadata(file.id).filename == "a.csv"
    assert [f.id for f in client.files.list()] == [file.id]
    deleted = client.files.delete(file.id)
    assert (deleted.id, deleted.type) == (file.id, "file_deleted")
    with pytest.raises(anthropic.NotFoundError):
        client.files.retrieve_metadata(file.id)


@pytest.mark.parametrize(
    "given, kept",
    [
        ("plain.txt", "plain.txt"),
        ("dir/sub/name.txt", "name.txt"),
        ("..\\..\\name.txt", "name.txt"),
        ("/etc/passwd", "passwd"),
        ("übung ☃.txt", "übung ☃.txt"),
        ("..", "unnamed"),
        ("x/", "unnamed"),
    ],
)
def test_only_the_last_part_of_a_name_is_kept(client, given, kept):
    file = client.beta.files.upload(file=(given, b"x", "application/octet-stream"))
    assert file.filename.removesuffix(".bin") == kept


def multipart(*parts: tuple[str, bytes], boundary: str = "sep") -> tuple[bytes, dict[str, str]]:
    body = b"".join(f"--{boundary}\r\n{headers}\r\n\r\n".encode() + data + b"\r\n" for headers, data in parts)
    return body + f"--{boundary}--\r\n".encode(), {"content-type": f"multipart/form-data; boundary={boundary}"}


FILE_PART = ('Content-Disposition: form-data; name="file"; filename="a.txt"', b"data")


@pytest.mark.parametrize(
    "headers, name",
    [
        ('Content-Disposition: form-data; name="file"\r\nContent-Type: application/pdf', "unnamed.pdf"),
        ('Content-Disposition: form-data; name="file"; filename=""\r\nContent-Type: application/json', "unnamed.json"),
        ('Content-Disposition: form-data; name="file"', "unnamed.bin"),
    ],
)
def test_a_part_without_a_name_is_called_unnamed_and_kept_byte_by_byte(raw, headers, name):
    every_byte = bytes(range(256)) * 3
    body, content_type = multipart((headers, every_byte))
    response = raw.post("/v1/files", content=body, headers=content_type)
    assert response.json()["filename"] == name
    assert blobs.read_blob(File.objects.get().sha256) == every_byte


@pytest.mark.parametrize(
    "body, headers",
    [
        (b"{}", {"content-type": "application/json"}),
        (b"", {"content-type": "multipart/form-data; boundary=sep"}),
        (b"no parts", {"content-type": "multipart/form-data; boundary=sep"}),
        (b"x", {"content-type": "multipart/form-data"}),
        multipart(('Content-Disposition: form-data; name="other"; filename="a"', b"x")),
        multipart(FILE_PART, FILE_PART),
        multipart(FILE_PART, ('Content-Disposition: form-data; name="surprise"', b"1")),
        multipart(FILE_PART, ('Content-Disposition: form-data; name="expires_in_seconds"', b"soon")),
        multipart(FILE_PART, ('Content-Disposition: form-data; name="expires_in_seconds"', b"3599")),
        multipart(FILE_PART, ('Content-Disposition: form-data; name="expires_in_seconds"', b"7776001")),
        multipart(FILE_PART, ('Content-Disposition: form-data; name="expires_in_seconds"', b"9" * 5000)),
    ],
)
def test_bad_uploads_are_refused_and_leave_no_file(raw, body, headers):
    response = raw.post("/v1/files", content=body, headers=headers)
    assert response.status_code == 400, response.text
    assert response.json()["error"]["type"] == "invalid_request_error"
    assert File.objects.count() == 0


def test_a_file_may_expire(client):
    file = client.beta.files.upload(file=("a.txt", b"x"), expires_in_seconds=3600)
    assert timedelta(minutes=59) < file.expires_at - datetime.now(UTC) <= timedelta(hours=1)
    File.objects.update(expires_at=datetime.now(UTC) - timedelta(seconds=1))
    for call in (client.beta.files.retrieve_metadata, client.beta.files.download, client.beta.files.delete):
        with pytest.raises(FileExpiredError):
            call(file.id)
    assert client.beta.files.list().data == []
    assert client.beta.files.list(ids=[file.id]).data == []


def test_a_large_upload_goes_to_disk_and_small_ones_to_the_table(client, settings):
    small, large = b"s" * blobs.MAX_ROW_BYTES, b"l" * (blobs.MAX_ROW_BYTES + 1)
    for data in (small, large, large):
        client.beta.files.upload(file=("f.bin", data))
    assert Blob.objects.get(sha256=hashlib.sha256(small).hexdigest()).data is not None
    row = Blob.objects.get(sha256=hashlib.sha256(large).hexdigest())
    assert (row.data, row.size_bytes) == (None, len(large))
    path = settings.DAYBREAK_DATA_DIR / "blobs" / row.sha256[:2] / row.sha256
    assert path.read_bytes() == large
    assert list((settings.DAYBREAK_DATA_DIR / "blobs" / "incoming").iterdir()) == []
    assert File.objects.count() == 3
    assert Blob.objects.count() == 2


def test_an_upload_over_the_limit_is_413_and_leaves_nothing(client, settings):
    settings.DAYBREAK_UPLOAD_LIMIT_BYTES = 2 * 1024 * 1024
    for size in (2 * 1024 * 1024 + 1, 5 * 1024 * 1024):
        with pytest.raises(anthropic.ContentTooLargeError):
            client.beta.files.upload(file=("f.bin", b"x" * size))
    assert File.objects.count() == 0
    assert list((settings.DAYBREAK_DATA_DIR / "blobs" / "incoming").iterdir()) == []
    client.beta.files.upload(file=("f.bin", b"x" * (2 * 1024 * 1024)))


def test_an_upload_in_chunks_of_unknown_total_size(raw):
    body, headers = multipart(FILE_PART)

    def chunks() -> Iterator[bytes]:
        yield body[:20]
        yield body[20:]

    response = raw.post("/v1/files", content=chunks(), headers=headers)
    assert response.json()["size_bytes"] == 4


def test_an_empty_file_is_a_file(client):
    assert client.beta.files.upload(file=("empty.txt", b"")).size_bytes == 0


@pytest.mark.conformance(87)
@pytest.mark.parametrize(
    "name, mime, sent_as",
    [
        ("report.md", "text/markdown", "text/plain; charset=utf-8"),
        ("page.html", "text/html", "text/plain; charset=utf-8"),
        ("image.svg", "image/svg+xml", "application/octet-stream"),
        ('naïve "name".bin', "application/octet-stream", "application/octet-stream"),
    ],
)
def test_outputs_are_downloaded_in_a_way_no_browser_runs(client, raw, session, name, mime, sent_as):
    file = make_output(session, name, b"<script>alert(1)</script>", mime)
    assert client.beta.files.download(file.public_id).read() == b"<script>alert(1)</script>"
    response = raw.get(f"/v1/files/{file.public_id}/content")
    assert response.headers["content-type"] == sent_as
    assert response.headers["content-disposition"].startswith("attachment; filename")
    assert response.headers["x-content-type-options"] == "nosniff"
    assert "sandbox" in response.headers["content-security-policy"]
    assert response.headers["content-length"] == "25"


@pytest.mark.conformance(87)
def test_a_large_output_is_streamed_whole(client, session):
    data = bytes(range(256)) * 20_000
    file = make_output(session, "big.bin", data, "application/octet-stream")
    assert client.beta.files.download(file.public_id).read() == data


@pytest.mark.conformance(87)
def test_files_of_a_session_are_listed_by_scope(client, raw, session):
    client.beta.files.upload(file=("mine.txt", b"x"))
    output = make_output(session)
    listed = client.beta.files.list(scope_id=session.public_id, betas=[MANAGED_AGENTS]).data
    assert [file.id for file in listed] == [output.public_id]
    assert listed[0].downloadable is True
    assert (listed[0].scope.type, listed[0].scope.id) == ("session", session.public_id)
    check(BetaFileMetadata, raw.get(f"/v1/files/{output.public_id}").json())
    assert client.beta.files.list(scope_id="sesn_none", betas=[MANAGED_AGENTS]).data == []
    with pytest.raises(anthropic.BadRequestError, match=MANAGED_AGENTS):
        client.beta.files.list(scope_id=session.public_id)


def test_listing_by_ids_skips_unknown_ones(client):
    ids = [client.beta.files.upload(file=(f"{i}.txt", b"x")).id for i in range(3)]
    found = client.beta.files.list(ids=[ids[0], "file_none", ids[2], ids[0]])
    assert {file.id for file in found.data} == {ids[0], ids[2]}
    assert found.next_page is None
    for bad in ({"limit": 5}, {"page": "x"}):
        with pytest.raises(anthropic.BadRequestError):
            client.beta.files.list(ids=ids, **bad)
    with pytest.raises(anthropic.BadRequestError, match="100"):
        client.beta.files.list(ids=[f"file_{i}" for i in range(101)])


@pytest.mark.conformance(12)
def test_pages_hold_every_file_once(client):
    made = [client.beta.files.upload(file=(f"{i}.txt", b"x")).id for i in range(5)]
    assert [file.id for file in client.beta.files.list(limit=2)] == made[::-1]


def test_a_mounted_copy_outlives_its_upload_and_is_not_deleted_here(client, session):
    upload = client.beta.files.upload(file=("in.txt", b"input"))
    resource = client.beta.sessions.resources.add(session.public_id, type="file", file_id=upload.id)
    client.beta.files.delete(upload.id)
    copy = client.beta.files.retrieve_metadata(resource.file_id)
    assert (copy.filename, copy.downloadable) == ("in.txt", False)
    with pytest.raises(FileNotDownloadableError):
        client.beta.files.download(copy.id)
    with pytest.raises(anthropic.BadRequestError, match="resource"):
        client.beta.files.delete(copy.id)


def test_blobs_are_kept_once_and_given_back_whole(committed_db):
    large = b"l" * (blobs.MAX_ROW_BYTES + 1)
    items = [b"one", b"two", b"one", b"", large]
    hashes = blobs.store_many(items)
    assert hashes == [hashlib.sha256(item).hexdigest() for item in items]
    assert blobs.store_many(items) == hashes
    assert Blob.objects.count() == 4
    assert [blobs.read_blob(sha256) for sha256 in hashes] == items
    assert blobs.store_stream(io.BytesIO(large)) == (hashes[4], len(large))
    assert blobs.store_stream(io.BytesIO(b"one")) == (hashes[0], 3)


def test_storing_many_blobs_takes_one_query(committed_db, django_assert_num_queries):
    with transaction.atomic(), django_assert_num_queries(1):
        blobs.store_many([f"blob {i}".encode() for i in range(50)])


@pytest.mark.parametrize("count", [2, 30])
def test_a_list_takes_a_fixed_number_of_queries(session, count_queries, count):
    for i in range(count):
        make_output(session, f"{i}.txt")
    assert count_queries("/v1/files?limit=100") == 2  # key, files with their sessions
