"""Pictures and sound go to a warm model, and come from it, as what they are: by the genuine client
of OpenAI, by forms and by bare bytes."""

from __future__ import annotations

from collections.abc import Iterator

import openai
import pytest

from tests.live import LiveGateway

POLICY = """
backends:
  home: &home {kind: local, app: tests/programs/studio.py:app, device: cpu, required: true}
  mirror: {<<: *home, handler: /mirror}
  elsewhere: {kind: openai, base_url: "http://127.0.0.1:9/v1", engine: none}
models:
  shout: {task: infer, backends: [home]}
  mirror: {task: infer, backends: [mirror]}
  far: {task: infer, backends: [elsewhere]}
  painter: {task: images, backends: [home]}
  ear: {task: transcriptions, backends: [home]}
  voice: {task: speech, backends: [home]}
  later: {task: other, path: /v1/later, backends: [home]}
"""
PICTURE = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 20
BYTES = {"Content-Type": "application/octet-stream"}
FORM = {"image": ("a.png", PICTURE, "image/png")}


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveGateway]:
    with LiveGateway(tmp_path_factory.mktemp("studio"), POLICY, ready_within_s=90) as gateway:
        yield gateway


def test_the_genuine_client_sends_files_and_is_given_sound(gateway: LiveGateway) -> None:
    with (
        gateway.client() as http,
        openai.OpenAI(
            api_key=gateway.user_key, base_url=f"{gateway.url}/v1", http_client=http
        ) as client,
    ):
        edited = client.images.edit(model="painter", image=FORM["image"], prompt="cat", n=2)
        heard = client.audio.transcriptions.create(model="ear", file=("a.wav", b"1234"))
        said = client.audio.speech.create(model="voice", voice="x", input="hello")
    assert edited.data is not None
    assert [one.url for one in edited.data] == [f"cat/{len(PICTURE)}"] * 2
    assert heard.text == "4 bytes of a.wav by ear"
    assert (said.read(), said.response.headers["content-type"]) == (b"hello", "audio/mpeg")


def test_a_file_or_a_form_is_an_inference_too(gateway: LiveGateway) -> None:
    with gateway.client() as client:
        bare = client.post(
            "/v1/infer/mirror", content=PICTURE, headers={"Content-Type": "image/png"}
        )
        form = client.post("/v1/infer/mirror", files=FORM)
        row = client.get(f"/usage/{form.headers['x-request-id']}").json()
    assert (bare.content, bare.headers["content-type"]) == (PICTURE, "image/png")
    assert form.content == PICTURE
    assert row["task"] == "infer_file"


@pytest.mark.parametrize(
    ("model", "sent", "status", "param"),
    [
        ("shout", {"json": {"times": 2}}, 400, "text"),
        ("shout", {"json": {"text": "a", "times": "x"}}, 400, "times"),
        ("shout", {"files": FORM}, 400, "text"),
        (
            "shout",
            {"content": PICTURE, "headers": {"Content-Type": "image/png"}},
            400,
            "Content-Type",
        ),
        ("far", {"files": FORM}, 415, "Content-Type"),
        (
            "far",
            {"content": b"{", "headers": {"Content-Type": "application/octet-stream"}},
            400,
            None,
        ),
        (
            "mirror",
            {"content": b"--x", "headers": {"Content-Type": "multipart/form-data; boundary=x"}},
            400,
            None,
        ),
        ("mirror", {"json": {}}, 400, None),
        ("mirror", {"content": PICTURE}, 400, None),
    ],
    ids=["missing", "type", "form", "picture", "JSON alone", "bytes", "cut", "no file", "no type"],
)
def test_what_a_model_does_not_take_is_said(
    gateway: LiveGateway, model: str, sent: dict[str, object], status: int, param: str | None
) -> None:
    with gateway.client() as client:
        answer = client.post(f"/v1/infer/{model}", **sent)  # type: ignore[arg-type]
    assert (answer.status_code, answer.json()["error"]["param"]) == (status, param)


def test_a_route_that_the_policy_names_is_one_of_the_apps(gateway: LiveGateway) -> None:
    with gateway.client() as client:
        answer = client.post("/v1/later", json={"text": "soon"})
    assert answer.status_code == 202, answer.text
    assert "job_id" in answer.json()
