"""What an application tells its server of an answer, part by part."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send


def telling(app: ASGIApp, said: list[Message]) -> ASGIApp:
    """The same application, whose parts are kept in ``said`` as well."""

    async def heard(scope: Scope, receive: Receive, send: Send) -> None:
        async def tell(message: Message) -> None:
            said.append(message)
            await send(message)

        await app(scope, receive, tell)

    return heard
