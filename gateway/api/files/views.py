"""What callers are told of a file, as OpenAI says it
(https://platform.openai.com/docs/api-reference/files/object)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gateway.storage.files.base import StoredFile


def shown(file: StoredFile) -> dict[str, Any]:
    """One file."""
    return {
        "id": file.id,
        "object": "file",
        "bytes": file.size,
        "created_at": int(file.created_at),
        "expires_at": int(file.expires_at),
        "filename": file.name,
        "purpose": file.purpose,
        "status": "processed",
        "status_details": None,
    }


def page(shown_ones: Sequence[dict[str, Any]], most: int) -> dict[str, Any]:
    """A page of a list, of which one more than ``most`` were looked for."""
    data = list(shown_ones[:most])
    return {
        "object": "list",
        "data": data,
        "first_id": data[0]["id"] if data else None,
        "last_id": data[-1]["id"] if data else None,
        "has_more": len(shown_ones) > most,
    }
