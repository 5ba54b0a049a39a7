"""The pages on which an app says what it takes."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import openapi_spec_validator
import pytest
from playwright.sync_api import sync_playwright

from tests.local_runtime.server.live_runtime import LiveRuntime

CHROMIUM = shutil.which("chromium")


@pytest.fixture(scope="module")
def studio() -> Iterator[LiveRuntime]:
    with LiveRuntime("studio.py") as live:
        yield live


def test_what_the_handlers_take_is_told_as_openapi(studio: LiveRuntime) -> None:
    with studio.client as client:
        document = client.get("/openapi.json").json()
    openapi_spec_validator.validate(document)
    assert document["info"]["title"] == "studio"


def test_a_form_and_a_bare_file_reach_the_handler(studio: LiveRuntime) -> None:
    picture = bytes(range(256)) * 8000
    with studio.client as client:
        bare = client.post("/mirror", content=picture, headers={"Content-Type": "image/png"})
        form = client.post("/mirror", files={"any": ("a.png", picture, "image/png")})
    assert bare.content == form.content == picture
    assert bare.headers["content-type"] == form.headers["content-type"] == "image/png"


@pytest.mark.parametrize(
    ("route", "body", "answer"),
    [
        ("/", {"text": "a", "times": 2}, {"text": "AA"}),
        ("/sum", {"a": 1, "b": "2.5"}, {"total": 3.5}),
    ],
)
def test_typed_values_come_and_go(
    studio: LiveRuntime, route: str, body: object, answer: object
) -> None:
    with studio.client as client:
        assert client.post(route, json=body).json() == answer


def test_a_background_call_is_refused_before_it_is_promised(studio: LiveRuntime) -> None:
    with studio.client as client:
        refused = client.post("/v1/later", files={"text": ("a.txt", b"x")})
    assert refused.status_code == 400


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")
def test_a_handler_is_tried_from_the_page(studio: LiveRuntime) -> None:
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = chromium.new_page()
        wrong: list[str] = []
        page.on("console", lambda said: wrong.append(said.text) if said.type == "error" else None)
        page.goto(f"{studio.url}/docs")
        page.get_by_role("heading", name="studio").wait_for()
        page.get_by_role("button", name="Run").first.click()
        page.get_by_text("HELLO").wait_for()
        page.get_by_label("prompt").fill("cat")
        files = [{"name": "a.png", "mimeType": "image/png", "buffer": b"12345"}]
        page.get_by_label("image").set_input_files(files)
        page.locator("section", has_text="/v1/images/edits").get_by_role(
            "button", name="Run"
        ).click()
        page.get_by_text("cat/5").wait_for()
        chromium.close()
    assert wrong == []


def test_the_page_allows_no_script_but_its_own(studio: LiveRuntime) -> None:
    with studio.client as client:
        first, second = client.get("/docs"), client.get("/docs")
    policies = [one.headers["content-security-policy"] for one in (first, second)]
    assert all("default-src 'none'" in policy for policy in policies)
    assert policies[0] != policies[1]
