"""A small OpenID provider on 127.0.0.1: it signs real tokens, and lies where a test wants it to."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import html
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlencode, urlsplit

from joserfc import jwt
from joserfc.jwk import ECKey, OctKey

CLIENT, SECRET = "spillgate", "a secret/of two"
Claims = dict[str, Any]


class Provider:
    """Whoever comes is let in at once, as ``claims`` say it."""

    def __init__(self, place: str, now_at: Callable[[], float]) -> None:
        self.issuer = f"http://{place}"
        self.now_at = now_at
        self.key = self.signs_with = new_key("one")
        self.algorithm = "ES256"
        self.claims: Claims = {"email": "alice@example.com", "email_verified": True}
        self.changed: Claims = {}
        """What a lie puts in the place of the truth; None leaves a claim out."""
        self.described: Claims = {}
        self.posted: list[Claims] = []
        self._codes: dict[str, Claims] = {}

    def authorize(self, address: str) -> str:
        """What a person's browser does there: the address to which it is led back."""
        asked = {name: values[0] for name, values in parse_qs(urlsplit(address).query).items()}
        assert asked["response_type"] == "code"
        assert asked["client_id"] == CLIENT
        code = f"code-{len(self._codes)}"
        self._codes[code] = asked
        return f"{asked['redirect_uri']}?code={code}&state={asked['state']}"

    def consent(self, query: str) -> str:
        """The page on which a person says yes or no."""
        return (
            "<!doctype html><html lang=en><title>Company login</title><h1>Company login</h1>"
            f'<p>{CLIENT} wants to know who you are.<p><a href="/yes?{html.escape(query)}">Yes</a> '
            f'<a href="/no?{html.escape(query)}">No</a></html>'
        )

    def deny(self, query: str) -> str:
        """The address to which whoever says no is led back (RFC 6749, 4.1.2.1)."""
        asked = {name: values[0] for name, values in parse_qs(query).items()}
        more = urlencode({"error": "access_denied", "state": asked["state"]})
        return f"{asked['redirect_uri']}?{more}"

    def describe(self) -> Claims:
        names = ("authorization", "token")
        ends = {f"{name}_endpoint": f"{self.issuer}/{name}" for name in names}
        return {"issuer": self.issuer, "jwks_uri": f"{self.issuer}/keys", **ends, **self.described}

    def keys(self) -> Claims:
        return {"keys": [{"kty": "unheard-of", "kid": "two"}, self.key.as_dict(private=False)]}

    def exchange(self, form: Claims, authorization: str) -> tuple[int, Claims]:
        """A code is good once, for who began with its challenge (RFC 7636, 4.6)."""
        self.posted.append(form)
        asked = self._codes.pop(form["code"], None)
        user, _, password = (
            base64.b64decode(authorization.removeprefix("Basic ")).decode().partition(":")
        )
        if (unquote(user), unquote(password)) != (CLIENT, SECRET):
            return 401, {"error": "invalid_client"}
        digest = hashlib.sha256(form["code_verifier"].encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        if asked is None or challenge != asked["code_challenge"]:
            return 400, {"error": "invalid_grant"}
        return 200, {"id_token": self.token(asked["nonce"])}

    def token(self, nonce: str) -> str:
        told = {
            "iss": self.issuer,
            "aud": CLIENT,
            "sub": "248289761001",
            "nonce": nonce,
            "iat": int(self.now_at()),
            "exp": int(self.now_at()) + 300,
            **self.claims,
            **self.changed,
        }
        claims = {name: value for name, value in told.items() if value is not None}
        if self.algorithm == "none":
            parts = ({"alg": "none"}, claims)
            return ".".join(_part(json.dumps(part).encode()) for part in parts) + "."
        if self.algorithm == "HS256":
            secret = OctKey.import_key(SECRET)
            return jwt.encode({"alg": "HS256"}, claims, secret)
        head = {"alg": self.algorithm, "kid": self.signs_with.kid}
        return jwt.encode(head, claims, self.signs_with)


def new_key(name: str) -> ECKey:
    return ECKey.generate_key("P-256", {"kid": name, "use": "sig"})


def _part(text: bytes) -> str:
    return base64.urlsafe_b64encode(text).rstrip(b"=").decode()


@contextlib.contextmanager
def provider(now_at: Callable[[], float], host: str = "127.0.0.1") -> Iterator[Provider]:
    """``host``: as its issuer names it."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path, _, query = self.path.partition("?")
            if path == "/authorization":
                self._send(200, made.consent(query).encode(), "text/html")
            elif path in ("/yes", "/no"):
                back = made.authorize(self.path) if path == "/yes" else made.deny(query)
                self._send(303, b"", "text/html", ("location", back))
            else:
                self._tell(200, made.keys() if path == "/keys" else made.describe())

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"])).decode()
            form = {name: values[0] for name, values in parse_qs(body).items()}
            self._tell(*made.exchange(form, self.headers["authorization"]))

        def _tell(self, status: int, value: Claims) -> None:
            self._send(status, json.dumps(value).encode(), "application/json")

        def _send(self, status: int, body: bytes, kind: str, *more: tuple[str, str]) -> None:
            self.send_response(status)
            for name, text in (("content-type", kind), ("content-length", str(len(body))), *more):
                self.send_header(name, text)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None: ...

    server = HTTPServer(("127.0.0.1", 0), Handler)
    made = Provider(f"{host}:{server.server_port}", now_at)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield made
    finally:
        server.shutdown()
        thread.join(10)
        server.server_close()
