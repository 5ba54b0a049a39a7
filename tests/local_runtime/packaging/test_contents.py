"""What is in the folder that runs an app on another platform."""

from __future__ import annotations

import sys
from pathlib import Path

import httpx
import pytest

from local_runtime.packaging.__main__ import main
from local_runtime.packaging.cog import fields_of
from local_runtime.packaging.contents import Unpackable, package_of, requirements_of
from tests.local_runtime.packaging.packed import APP, packed, written


@pytest.fixture
def app(tmp_path: Path) -> str:
    return written(tmp_path)


def test_a_package_is_whole(app: str) -> None:
    """The app, the neighbour that it imports, the runtime, and the platform's files."""
    out = packed(app, "runpod")
    names = {"handler.py", "Dockerfile", "requirements.txt", "shout.py", "words.py"}
    assert {path.name for path in out.iterdir()} == names | {"local_runtime"}
    assert not (out / "local_runtime" / "packaging").exists()


def test_a_runtime_that_lies_beside_the_app_is_no_neighbour(app: str) -> None:
    """In a checkout of this project it does, and the package has one anyway."""
    (Path(app).parent / "local_runtime").mkdir()
    (Path(app).parent / "local_runtime" / "__init__.py").touch()
    assert (packed(app, "cog") / "local_runtime" / "hosted.py").exists()


def test_what_the_app_imports_is_required_in_the_version_that_is_here(tmp_path: Path) -> None:
    source = tmp_path / "app.py"
    source.write_text("import json\nimport httpx\nfrom local_runtime import Runtime\n")
    wanted = requirements_of((source,))
    assert [one.partition("==")[0] for one in wanted] == ["httpx", "msgspec", "uvloop"]
    assert f"httpx=={httpx.__version__}" in wanted


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("from local_runtime.pytorch import Served", {"torch", "safetensors"}),
        ("import local_runtime.pytorch.weights", {"torch", "safetensors"}),
        ("from local_runtime.pytorch.decoding import Decoder", {"torch", "transformers"}),
        ("from local_runtime.potassium import Potassium, RedisConfig, Store", {"redis"}),
    ],
)
def test_what_the_app_uses_of_the_runtime_brings_its_requirements(
    tmp_path: Path, line: str, wanted: set[str]
) -> None:
    """And no local version, such as that of torch for the CPU, which no index has."""
    source = tmp_path / "app.py"
    source.write_text(line)
    found = requirements_of((source,))
    assert wanted <= {one.partition("==")[0] for one in found}
    assert not [one for one in found if "+" in one]
    source.write_text("from local_runtime.potassium import Potassium")
    assert [one.partition("==")[0] for one in requirements_of((source,))] == ["msgspec", "uvloop"]


def test_a_folder_of_modules_is_a_neighbour_though_it_is_no_package(app: str) -> None:
    """And all that a package of the app holds goes along, whatever its name."""
    beside = Path(app).parent
    (beside / "tricks").mkdir()
    (beside / "tricks" / "loudness.py").write_text("from courier.parcel import mark\n")
    (beside / "courier" / "parcel").mkdir(parents=True)
    (beside / "courier" / "__init__.py").touch()
    (beside / "courier" / "parcel" / "__init__.py").write_text("mark = '!'\n")
    (beside / "shout.py").write_text(APP + "from tricks.loudness import mark\n")
    out = packed(app, "cog")
    assert (out / "tricks" / "loudness.py").exists()
    assert (out / "courier" / "parcel" / "__init__.py").exists()


def test_what_no_import_names_goes_along_when_it_is_named(
    app: str, tmp_path_factory: pytest.TempPathFactory, capsys: pytest.CaptureFixture[str]
) -> None:
    beside = Path(app).parent
    (beside / "data" / "en").mkdir(parents=True)
    (beside / "data" / "en" / "labels.json").write_text("[]")
    out = packed(app, "modal", "--with", str(beside / "data" / "en" / "labels.json"))
    assert (out / "data" / "en" / "labels.json").read_text() == "[]"
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    for wrong, why in ((beside / "none", "no such file"), (elsewhere, "does not lie below")):
        assert main([app, "--for", "cog", "--with", str(wrong)]) == 2
        assert why in capsys.readouterr().err


@pytest.mark.parametrize("platform", ["runpod", "modal", "cog"])
def test_what_is_generated_is_for_the_python_that_is_here(app: str, platform: str) -> None:
    """The requirements are pinned for it."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    file = {"runpod": "Dockerfile", "modal": "modal_app.py", "cog": "cog.yaml"}[platform]
    assert version in (packed(app, platform) / file).read_text()


def test_nothing_is_overwritten_unless_it_is_forced(
    app: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out = packed(app, "modal")
    (out / "modal_app.py").write_text("mine")
    (out / "requirements.txt").unlink()
    assert main([app, "--for", "modal", "--out", str(out)]) == 2
    assert "--force" in capsys.readouterr().err
    assert (out / "modal_app.py").read_text() == "mine"
    assert not (out / "requirements.txt").exists()
    packed(app, "modal", "--force")
    assert (out / "modal_app.py").read_text() != "mine"


@pytest.mark.parametrize(
    ("name", "options", "why"),
    [
        ("shout.py:nobody", (), "has nothing named"),
        ("none.py:app", (), "no such file"),
        ("package.module:app", (), "names no file"),
        ("shout.py:app", ("--route", "/none"), "/letters"),
    ],
)
def test_what_cannot_be_packed_is_refused_with_a_reason(
    app: str, capsys: pytest.CaptureFixture[str], name: str, options: tuple[str, ...], why: str
) -> None:
    given = f"{Path(app).parent / name}" if "module" not in name else name
    assert main([given, "--for", "cog", *options]) == 2
    assert why in capsys.readouterr().err


def test_an_app_that_bears_a_name_of_the_platforms_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "handler.py").write_text(APP.replace("from words import loud", "loud = str.upper"))
    assert main([f"{tmp_path / 'handler.py'}:app", "--for", "runpod"]) == 2


@pytest.mark.parametrize("platform", ["runpod", "modal", "cog"])
def test_an_app_that_would_hide_the_platforms_package_is_refused(
    tmp_path: Path, platform: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """``import modal`` would find it."""
    source = tmp_path / f"{platform}.py"
    source.write_text(APP.replace("from words import loud", "loud = str.upper"))
    out = tmp_path / "out"
    assert main([f"{source}:app", "--for", platform, "--route", "/", "--out", str(out)]) == 2
    assert f"{platform}.py would be imported" in capsys.readouterr().err


@pytest.mark.parametrize(("name", "title"), [("3d shapes", "App3dShapes"), ("none", "AppNone")])
def test_a_name_that_is_no_name_of_a_class_becomes_one(
    tmp_path: Path, name: str, title: str
) -> None:
    (tmp_path / "one.py").write_text(
        f'from local_runtime import Runtime\napp = Runtime("{name}")\n'
        '@app.handler("/", timeout=1800)\ndef a(context, request): ...\n'
    )
    out = packed(f"{tmp_path / 'one.py'}:app", "modal")
    source = (out / "modal_app.py").read_text()
    assert f"class {title}:" in source
    assert "timeout=1830" in source  # Modal's own is five minutes
    compile(source, "modal_app.py", "exec")


STEPPER = """\
from local_runtime import Runtime, Step

app = Runtime("steps")


@app.stepper("/", max_size=4)
class Twice:
    def __init__(self, context): ...

    def admit(self, request):
        return [request.json["text"]] * 2

    def step(self, states):
        return [Step(items=[state.pop()], done=not state) for state in states]

    def evict(self, state): ...


@app.background("/later")
def later(context, request):
    return {"pages": 3}
"""


def test_a_stepper_is_a_stream_and_a_background_handler_a_route(tmp_path: Path) -> None:
    (tmp_path / "steps.py").write_text(STEPPER)
    name = f"{tmp_path / 'steps.py'}:app"
    assert package_of(name).streams
    assert not package_of(name, route="/later").streams


def test_the_only_route_need_not_be_named(tmp_path: Path) -> None:
    source = 'from local_runtime import Runtime\napp = Runtime("x")\n'
    routes = (
        '@app.handler("/a")\ndef a(context, request): ...\n',
        '@app.handler("/b")\nasync def b',
    )
    (tmp_path / "one_route.py").write_text(source + routes[0])
    assert package_of(f"{tmp_path / 'one_route.py'}:app").route == "/a"
    (tmp_path / "two_routes.py").write_text("".join((source, *routes, "(context, request): ...\n")))
    with pytest.raises(Unpackable, match="/a, /b"):
        package_of(f"{tmp_path / 'two_routes.py'}:app")


def test_inputs_of_cog_are_the_fields_of_the_sample_where_these_are_plain() -> None:
    assert fields_of({"text": "a", "times": 1, "loud": True}) == {
        "text": "str",
        "times": "int",
        "loud": "bool",
    }
    for sample in (None, 7, {}, {"texts": ["a"]}, {"no name": 1}, {"class": 1}, {"self": 1}):
        assert fields_of(sample) is None
