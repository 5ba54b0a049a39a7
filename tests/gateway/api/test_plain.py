"""Images, sound, ranks and the like, and routes that a policy names: asked by OpenAI's own client
where it can, held for and charged by what they use."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_args

import httpx
import openai
import pytest

from adapters.forms import parts_of
from adapters.types import Capabilities, ImageKind, Reply, Task, Usage
from gateway.api.jobs.job_requests import parsed_input
from gateway.clock import FakeClock
from gateway.policy.reader import PolicyError, read_policy_text
from gateway.types import ApiError
from tests.gateway.assembled import ALICE, FAKES, AssembledGateway, assembled
from tests.gateway.dialects.chats import openais, row_of

POLICY = """
version: 1
server: {tls: "off", access_log: false, max_body: 1MiB}
backends:
  home: {kind: fake, price: media}
models:
  draw: {task: images, backends: [home]}
  dall-e-3: {alias: draw}
  hear: {task: transcriptions, backends: [home]}
  speak: {task: speech, backends: [home]}
  rank: {task: rerank, backends: [home]}
  judge: {task: moderations, backends: [home]}
  like: {task: score, backends: [home]}
  ocr: {task: other, path: /v1/ocr, backends: [home]}
  chat: {task: chat, backends: [home]}
prices:
  media: {per_image: 0.04, per_audio_second: 0.001, as_of: 2026-11-01, source: test}
plans:
  default: {spend: 1 USD/month}
"""
DRAWN = b'{"created":1,"data":[{"b64_json":"AAAA"},{"b64_json":"BBBB"}]}'
SOUND = ("a.wav", b"RIFF....")


def doing_all(gateway: AssembledGateway, *outcomes: Reply) -> None:
    home = gateway.fake("home")
    home.capabilities = Capabilities(tasks=frozenset(get_args(Task)))
    home.tell(*outcomes)


def by_image(kinds: str) -> str:
    """The policy with prices of images by their kind."""
    return POLICY.replace("per_audio_second: 0.001", f"by_image: [{kinds}]")


# --- by OpenAI's client --------------------------------------------------------------------------


async def test_images_are_charged_each(tmp_path: Path, clock: FakeClock) -> None:
    async with assembled(tmp_path, clock, POLICY) as gateway:
        doing_all(gateway, Reply(body=DRAWN, usage=Usage(images=2)))
        drawn = await openais(gateway).images.generate(model="dall-e-3", prompt="a gate", n=2)
        assert drawn.data is not None
        assert [one.b64_json for one in drawn.data] == ["AAAA", "BBBB"]
        [call] = gateway.fake("home").calls
        assert json.loads(call.body)["model"] == "draw"
        row = await row_of(gateway)
        assert (row.task, row.cost_nano) == ("images", 80_000_000)


async def test_images_are_held_for_and_charged_by_their_size(
    tmp_path: Path, clock: FakeClock
) -> None:
    policy = by_image("{size: 512x512, per_image: 0.01}, {size: 2048x2048, per_image: 0.2}")
    made = Usage(images=2, image=ImageKind("2048x2048"))
    async with assembled(tmp_path, clock, policy) as gateway:
        doing_all(gateway, *(Reply(body=DRAWN, usage=one) for one in (Usage(images=2), made)))
        images = openais(gateway).images
        held, charged = [], []
        for _ in range(2):
            await images.generate(model="draw", prompt="a gate", n=2, size="512x512")
            row = await row_of(gateway)
            held.append(row.hold_nano)
            charged.append((row.cost_nano, row.cost_basis))
        assert held == [20_000_000, 20_000_000]
        assert charged == [(20_000_000, "reported"), (400_000_000, "reported")]


async def test_an_image_of_which_nobody_says_the_size_costs_the_dearest_and_is_an_estimate(
    tmp_path: Path, clock: FakeClock
) -> None:
    policy = by_image("{size: 2048x2048, per_image: 0.2}")
    picture = ("a.png", b"\x89PNG", "image/png")
    async with assembled(tmp_path, clock, policy) as gateway:
        doing_all(gateway, *(Reply(body=DRAWN, usage=Usage(images=1)) for _ in range(2)))
        images = openais(gateway).images
        await images.edit(model="draw", image=picture, prompt="a gate", n=1, size="auto")
        row = await row_of(gateway)
        told = (row.hold_nano, row.cost_nano, row.cost_basis)
        assert told == (200_000_000, 200_000_000, "estimated")
        await images.edit(model="draw", image=picture, prompt="a gate", n=1, size="512x512")
        row = await row_of(gateway)
        told = (row.hold_nano, row.cost_nano, row.cost_basis)
        assert told == (40_000_000, 40_000_000, "reported")


async def test_images_that_are_sold_by_their_tokens_are_held_for_as_such(
    tmp_path: Path, clock: FakeClock
) -> None:
    policy = POLICY.replace("per_image: 0.04", "per_million_input: 5, per_million_output: 30")
    used = Usage(images=2, input_tokens=10, output_tokens=2_000)
    async with assembled(tmp_path, clock, policy) as gateway:
        doing_all(gateway, Reply(body=DRAWN, usage=used))
        await openais(gateway).images.generate(model="draw", prompt="a gate", n=2)
        row = await row_of(gateway)
        assert row.hold_nano >= 2 * 4096 * 30_000
        assert row.cost_nano == 10 * 5_000 + 2_000 * 30_000


async def test_an_edit_is_a_form_that_goes_on_as_it_came(tmp_path: Path, clock: FakeClock) -> None:
    async with assembled(tmp_path, clock, POLICY) as gateway:
        doing_all(gateway, Reply(body=DRAWN, usage=Usage(images=2)))
        picture = ("a.png", b"\x89PNG\r\n--not a boundary\r\n", "image/png")
        await openais(gateway).images.edit(model="dall-e-3", image=picture, prompt="more")
        [call] = gateway.fake("home").calls
        assert call.content_type.startswith("multipart/form-data; boundary=")
        assert b"\r\n\r\ndraw\r\n" in call.body
        assert b"dall-e-3" not in call.body
        assert picture[1] in call.body


async def test_a_transcription_is_charged_by_the_second(tmp_path: Path, clock: FakeClock) -> None:
    async with assembled(tmp_path, clock, POLICY) as gateway:
        usage = Usage(audio_s=30.0)
        doing_all(gateway, *(Reply(body=b'{"text":"hello"}', usage=usage) for _ in range(2)))
        audio = openais(gateway).audio
        assert (await audio.transcriptions.create(model="hear", file=SOUND)).text == "hello"
        with pytest.warns(DeprecationWarning, match="deprecated"):
            translated = await audio.translations.create(model="hear", file=SOUND)
        assert translated.text == "hello"
        tasks = [call.task for call in gateway.fake("home").calls]
        assert tasks == ["transcriptions", "translations"]
        assert await gateway.spent() == 60_000_000


async def test_speech_is_bytes(tmp_path: Path, clock: FakeClock) -> None:
    async with assembled(tmp_path, clock, POLICY) as gateway:
        sound = Reply(body=b"\xff\xfb\x00", content_type="audio/mpeg", usage=Usage(audio_s=2.0))
        doing_all(gateway, sound)
        said = await openais(gateway).audio.speech.create(model="speak", voice="a", input="hi")
        assert said.content == b"\xff\xfb\x00"
        assert said.response.headers["content-type"] == "audio/mpeg"
        assert await gateway.spent() == 2_000_000


async def test_a_moderation_is_answered(tmp_path: Path, clock: FakeClock) -> None:
    async with assembled(tmp_path, clock, POLICY) as gateway:
        doing_all(gateway, Reply(body=b'{"id":"m","model":"x","results":[]}'))
        assert (await openais(gateway).moderations.create(model="judge", input="x")).results == []


async def test_a_chat_beside_pictures_is_held_for_and_charged_by_its_tokens_alone(
    tmp_path: Path, clock: FakeClock
) -> None:
    policy = POLICY.replace("media: {per_image", "media: {per_million_output: 1, per_image")
    asked = {"model": "chat", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 9}
    async with assembled(tmp_path, clock, policy) as gateway, gateway.client() as client:
        doing_all(gateway, Reply(body=b'{"choices":[]}', usage=Usage(output_tokens=4)))
        answer = await client.post("/v1/chat/completions", json=asked)
        row = await gateway.row(answer.headers["x-request-id"])
        assert (row.hold_nano, row.cost_nano) == (9_000, 4_000)


async def test_a_form_may_name_its_fields_without_quotes(tmp_path: Path, clock: FakeClock) -> None:
    bare = WHOLE.replace(b'name="model"', b"name=model").replace(b'name="file"', b"name=file")
    async with assembled(tmp_path, clock, POLICY) as gateway, gateway.client() as client:
        doing_all(gateway, Reply(body=b'{"text":"a"}', usage=Usage(audio_s=1)))
        url, headers = "/v1/audio/transcriptions", {"content-type": TYPE}
        answer = await client.post(url, content=bare, headers=headers)
        assert (answer.status_code, gateway.fake("home").calls[0].body) == (200, bare)


@pytest.mark.parametrize(
    ("header", "name"),
    [
        (b'form-data; name="a"', "a"),
        (b"form-data; name=a", "a"),
        (b"form-data;name=a;filename=b", "a"),
        (b'form-data; filename="x; name=b"; name="a"', "a"),
        (b'form-data; filename="x\\"; name=b"; name=a', "a"),
        (b'form-data; name="a"; filename="name=b"', "a"),
        (b'form-data; filename=b; name="a b"', "a b"),
    ],
    ids=["quoted", "bare", "tight", "in a file's name", "after a quote", "before", "spaces"],
)
def test_a_fields_name_is_no_part_of_another_value(header: bytes, name: str) -> None:
    body = b"--b\r\nContent-Disposition: " + header + b"\r\n\r\nv\r\n--b--"
    assert [part.name for part in parts_of(body, b"b")] == [name]


@pytest.mark.parametrize("n", ["9" * 5000, "0", "1001", "-1", "1e2"], ids=lambda n: n[:4])
async def test_no_number_of_images_is_a_fault_of_ours(
    n: str, tmp_path: Path, clock: FakeClock
) -> None:
    async with assembled(tmp_path, clock, POLICY) as gateway, gateway.client() as client:
        answer = await client.post(
            "/v1/images/edits", data={"model": "draw", "n": n}, files={"image": SOUND}
        )
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, "n")


# --- others --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/rerank", {"model": "rank", "query": "a", "documents": ["b"]}),
        ("/rerank", {"model": "rank", "query": "a", "documents": ["b"]}),
        ("/v1/score", {"model": "like", "text_1": "a", "text_2": "b"}),
        ("/v1/tokenize", {"model": "chat", "prompt": "a"}),
        ("/tokenize/", {"model": "chat", "prompt": "a"}),
        ("/v1/ocr", {"whatever": [1]}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_a_body_goes_on_as_it_came(
    path: str, body: dict[str, Any], tmp_path: Path, clock: FakeClock
) -> None:
    async with assembled(tmp_path, clock, POLICY) as gateway, gateway.client() as client:
        doing_all(gateway, Reply(body=b'{"results":[]}'))
        content = json.dumps(body).encode()
        answer = await client.post(path, content=content)
        assert answer.json() == {"results": []}
        assert gateway.fake("home").calls[0].body == content


async def test_a_declared_route_passes_what_it_does_not_know(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with assembled(tmp_path, clock, POLICY) as gateway, gateway.client() as client:
        doing_all(gateway, Reply(body=b"text", content_type="text/plain"))
        head = {"content-type": "image/png"}
        answer = await client.post("/v1/ocr", content=b"\x89PNG", headers=head)
        assert (answer.text, answer.headers["content-type"]) == ("text", "text/plain")
        [call] = gateway.fake("home").calls
        assert (call.body, call.content_type) == (b"\x89PNG", "image/png")
        assert call.declared == ("POST", "/v1/ocr")
        refused = await client.get("/v1/ocr")
        assert (refused.status_code, refused.headers["allow"]) == (405, "POST")
        assert (await client.post("/v1/orc")).json()["error"]["code"] == "not_found"


async def test_a_declared_route_has_its_method_and_passes_its_query(
    tmp_path: Path, clock: FakeClock
) -> None:
    """Another model may have another method of the same path."""
    voices = "  voices: {task: other, path: /v1/ocr, method: GET, backends: [home]}\n  chat:"
    text = POLICY.replace("  chat:", voices)
    async with assembled(tmp_path, clock, text) as gateway, gateway.client() as client:
        doing_all(gateway, Reply(body=b"[]"), Reply(body=b"{}"))
        assert (await client.get("/v1/ocr?lang=de&n=1")).json() == []
        assert (await client.post("/v1/ocr?dpi=300", json={})).json() == {}
        asked = [(call.model, call.declared) for call in gateway.fake("home").calls]
        assert asked == [
            ("voices", ("GET", "/v1/ocr?lang=de&n=1")),
            ("ocr", ("POST", "/v1/ocr?dpi=300")),
        ]
        refused = await client.delete("/v1/ocr")
        assert refused.headers["allow"] == "POST, GET"


@pytest.mark.parametrize(
    "line",
    ["{task: other, backends: [home]}", "{task: images, path: /v1/x, backends: [home]}"],
    ids=["no path", "a path of another task"],
)
def test_a_path_is_for_other_tasks_alone(line: str) -> None:
    text = POLICY.replace("{task: other, path: /v1/ocr, backends: [home]}", line)
    with pytest.raises(PolicyError, match=r"models\.ocr\.path: is for task: other"):
        read_policy_text(text, {}, kinds=FAKES)


# --- what is refused -----------------------------------------------------------------------------

FORM = httpx.Request(
    "POST", "http://x", data={"model": "hear", "stream": "false"}, files={"file": SOUND}
)
TYPE = FORM.headers["content-type"]
WHOLE = FORM.read()


@pytest.mark.parametrize(
    ("content", "head", "code"),
    [
        (WHOLE[:-20], TYPE, "invalid_body"),
        (WHOLE[:40], TYPE, "invalid_body"),
        (b"", TYPE, "invalid_body"),
        (WHOLE, "multipart/form-data; boundary=other", "invalid_body"),
        (WHOLE, "multipart/form-data", "invalid_body"),
        (WHOLE.replace(b'name="model"', b'name="modal"'), TYPE, "missing_field"),
        (WHOLE.replace(b'name="stream"', b'name="model"'), TYPE, "ambiguous_field"),
        (WHOLE.replace(b"false", b"true "), TYPE, "unsupported"),
        (WHOLE.replace(b"hear", b"draw"), TYPE, "wrong_endpoint"),
        (b'{"model": "hear", "stream": true}', "application/json", "unsupported"),
        (b'{"model": 7}', "application/json", "invalid_field"),
        (b"x" * (1024 * 1024 + 1), TYPE, "body_too_large"),
    ],
    ids=["cut", "cut early", "empty", "another boundary", "no boundary", "no model", "two models",
         "a stream", "another task", "a stream of JSON", "a number", "too large"],
)  # fmt: skip
async def test_a_body_that_is_none_is_refused_and_costs_nothing(
    content: bytes, head: str, code: str, tmp_path: Path, clock: FakeClock
) -> None:
    async with assembled(tmp_path, clock, POLICY) as gateway, gateway.client() as client:
        doing_all(gateway)
        url, headers = "/v1/audio/transcriptions", {"content-type": head}
        answer = await client.post(url, content=content, headers=headers)
        assert answer.json()["error"]["code"] == code
        assert gateway.fake("home").calls == []
        assert await gateway.spent() == 0


async def test_more_images_than_the_budget_has_room_for_are_refused(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with assembled(tmp_path, clock, POLICY) as gateway:
        doing_all(gateway)
        with pytest.raises(openai.APIStatusError) as refused:
            await openais(gateway).images.generate(model="draw", prompt="a", n=30)
        assert refused.value.status_code == 402
        with pytest.raises(openai.BadRequestError):
            await openais(gateway).images.generate(model="draw", prompt="a", n=-1)
        assert gateway.fake("home").calls == []


async def test_where_the_policy_caps_them_no_call_asks_for_more_images_by_no_way(
    tmp_path: Path, clock: FakeClock
) -> None:
    """A budget or none, by JSON, by a form, by a job, or to have it explained alone."""
    text = POLICY.replace("images, backends: [home]", "images, backends: [home], cap_images: true")
    async with assembled(tmp_path, clock, text) as gateway, gateway.client() as client:
        doing_all(gateway)
        client_of_openai = openais(gateway)
        await client_of_openai.images.generate(model="dall-e-3", prompt="a", n=4)
        with pytest.raises(openai.BadRequestError, match="at most 4") as refused:
            await client_of_openai.images.generate(model="dall-e-3", prompt="a", n=5)
        assert refused.value.param == "n"
        with pytest.raises(openai.BadRequestError, match="at most 4"):
            await client_of_openai.images.edit(model="draw", prompt="a", n=5, image=SOUND)
        asked = {"model": "draw", "prompt": "a", "n": 5}
        assert (await client.post("/v1/route/explain", json=asked)).status_code == 400
        with pytest.raises(ApiError, match="at most 4"):
            parsed_input(gateway.inner.active, ALICE, "draw", b'{"prompt": "a", "n": 5}')
        assert len(gateway.fake("home").calls) == 1


async def test_who_would_draw_is_explained(tmp_path: Path, clock: FakeClock) -> None:
    async with assembled(tmp_path, clock, POLICY) as gateway, gateway.client() as client:
        doing_all(gateway)
        shown = await client.post("/v1/route/explain", json={"model": "draw", "prompt": "x"})
        assert shown.json()["backend"] == "home"
