"""What answers: an nginx that returns one fixed completion, or the paced stream server."""

from __future__ import annotations

import http.client
import shutil
import ssl
import sys
from pathlib import Path

from benchmarks.gateway.processes import HOST, Child, StartFailed, free_port
from benchmarks.gateway.target import LARGE, MODEL, PATH, Target, completion

READY = 10.0

NGINX = """\
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log stderr crit;
events {{ worker_connections 16384; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    keepalive_requests 1000000000;
    keepalive_timeout 600s;
    default_type application/json;
{http}
}}
"""

ANSWERS = """\
    map $content_length $at_length {{ default 0; ~^[1-9][0-9][0-9][0-9]$ 1; }}
    server {{
        listen {host}:{port} backlog=4096;
        client_max_body_size 16m;
        location = {path} {{
            if ($at_length) {{ rewrite ^ /large.json last; }}
            return 200 '{completion}';
        }}
        location = /large.json {{ internal; root {folder}; error_page 405 =200 /large.json; }}
        location = /v1/models {{ return 200 '{models}'; }}
        location / {{ return 200 '{{}}'; }}
    }}
"""


def nginx(folder: Path, http_block: str) -> Child:
    """An nginx of one worker in the foreground. Raises StartFailed where it is not installed."""
    program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
    if program is None:
        raise StartFailed("nginx is not installed")
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / "nginx.conf"
    config.write_text(NGINX.format(folder=folder, http=http_block))
    command = [program, "-p", str(folder), "-c", str(config)]
    return Child(command, log=folder / "nginx.log")


def start_answers(folder: Path) -> tuple[Child, Target]:
    """The upstream for JSON: any POST of a completion gets the same answer at once, a long one
    where its body has a few thousand bytes."""
    port = free_port()
    models = f'{{"object":"list","data":[{{"id":"{MODEL}","object":"model","owned_by":"bench"}}]}}'
    place = folder / "upstream"
    block = ANSWERS.format(
        host=HOST,
        port=port,
        path=PATH,
        completion=completion().decode(),
        models=models,
        folder=place,
    )
    place.mkdir(parents=True, exist_ok=True)
    (place / "large.json").write_bytes(completion(LARGE))
    child = nginx(place, block)
    target = Target(url=f"http://{HOST}:{port}")
    wait_for_answer(child, target, what="the upstream", deadline=READY)
    return child, target


def start_streams(folder: Path) -> tuple[Child, Target]:
    """The upstream for streams: see ``stream_server``."""
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.gateway.stream_server", "--port", str(port)]
    child = Child(command, log=folder / "stream_server.log")
    target = Target(url=f"http://{HOST}:{port}")
    child.wait_until(lambda: status(target, "/health") == 200, what="streams", deadline=READY)
    return child, target


def wait_for_answer(child: Child, target: Target, *, what: str, deadline: float) -> None:
    """Returns once a completion is answered with 200; ends the child and raises otherwise."""
    try:
        child.wait_until(lambda: answers(target), what=what, deadline=deadline)
    except BaseException:
        child.stop()
        raise


def answers(target: Target) -> bool:
    """Whether a whole completion is answered with 200."""
    return status(target, target.path, post=True) == 200


def status(target: Target, path: str, *, post: bool = False) -> int:
    """The status of one request; 0 where nobody answers yet."""
    connection = _connection(target)
    try:
        if post:
            head = {"Authorization": f"Bearer {target.key}", "Content-Type": "application/json"}
            head |= dict(target.headers)
            connection.request("POST", path, body=target.body(), headers=head)
        else:
            connection.request("GET", path)
        answer = connection.getresponse()
        answer.read()
    except (OSError, http.client.HTTPException):
        return 0
    finally:
        connection.close()
    return answer.status


def _connection(target: Target) -> http.client.HTTPConnection:
    host, port = target.address
    if not target.tls:
        return http.client.HTTPConnection(host, port, timeout=10)
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return http.client.HTTPSConnection(host, port, timeout=10, context=context)
