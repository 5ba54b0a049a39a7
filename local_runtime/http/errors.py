"""The one shape of an error over HTTP, OpenAI's: a refusal as an exception."""

from __future__ import annotations

import msgspec


class Refusal(Exception):
    """A call that ends with an error. ``headers`` go with the answer."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        param: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.param = param
        self.headers = headers or {}

    def body(self) -> bytes:
        """``{"error": {"message", "type", "code", "param"}}``"""
        invalid = self.status < 500 and self.code != "cancelled"
        error = {
            "message": self.message,
            "type": "invalid_request_error" if invalid else "server_error",
            "code": self.code,
            "param": self.param,
        }
        return msgspec.json.encode({"error": error})
