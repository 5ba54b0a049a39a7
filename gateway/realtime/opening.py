"""From a request that wishes for a conversation to its end: admitted like any other call, its
backend is asked before its client is answered."""

from __future__ import annotations

import asyncio
from collections.abc import MutableMapping
from typing import Any

from adapters.types import Call
from gateway.active_policy import ActivePolicy
from gateway.api.answers.headers import decision_headers
from gateway.api.answers.refused import log_refused
from gateway.api.calls.call_requests import Watch, all_preferences
from gateway.api.requests.request import (
    ParsedRequest,
    Receive,
    RequestContext,
    Send,
    respond_error,
)
from gateway.calls.refusals import shutting_down
from gateway.calls.state import CallState
from gateway.calls.stream import SettledConversation
from gateway.realtime.ahead import Ahead
from gateway.realtime.client_socket import ClientSocket
from gateway.realtime.key_in_force import KeyInForce
from gateway.realtime.relay import ConversationRelay
from gateway.service import Gateway
from gateway.tasks import take_back_cancellation
from gateway.types import ApiError
from local_runtime.http.upgrades import Upgrade

MAX_MESSAGE = 16 * 1024 * 1024


class ConversationOpening:
    """One conversation, from its request on."""

    def __init__(
        self,
        gateway: Gateway,
        active: ActivePolicy,
        context: RequestContext,
        parsed: ParsedRequest,
        upgrade: Upgrade,
    ) -> None:
        self._gateway, self._active = gateway, active
        self._context, self._parsed, self._upgrade = context, parsed, upgrade

    async def serve(self, head: bytes, receive: Receive, send: Send) -> None:
        """``head`` is that of the request. Raises ApiError 400 where it is no handshake."""
        gateway, context = self._gateway, self._context
        clients = gateway.active.policy.server.clients
        socket = ClientSocket(max_message=MAX_MESSAGE, write_s=clients.write)
        if refusal := socket.refusal(head):
            raise ApiError(400, "invalid_websocket", refusal)
        state = self._state()
        heard = self._until_begun(receive)
        dispatcher = gateway.dispatcher
        watch = Watch(heard, state, dispatcher, gateway.clock, None, self._active)
        dispatcher.timer.watch(watch, watch.look)
        try:
            stream = await self._ask(state, send)
            if stream is not None:
                await self._converse(state, socket, stream)
        except asyncio.CancelledError:
            if state.stop_cause != "disconnected":
                if not context.begun:
                    await respond_error(send, context, shutting_down(), decision_headers(state))
                raise
            take_back_cancellation()
        finally:
            watch.end()
            gateway.log_ending(state)

    def _until_begun(self, receive: Receive) -> Receive:
        """What HTTP says of the client; once it has its answer the socket does."""

        async def heard() -> MutableMapping[str, Any]:
            message = await receive()
            if self._context.begun:
                await asyncio.get_running_loop().create_future()
            return message

        return heard

    def _state(self) -> CallState:
        gateway, context, parsed = self._gateway, self._context, self._parsed
        call = Call(
            id=context.request_id,
            model=parsed.model,
            task="realtime",
            body=parsed.body,
            stream=True,
            betas=parsed.betas,
            deadline=context.received + self._active.longest(parsed.model),
        )
        return CallState(
            call,
            parsed.model,
            context.principal,
            all_preferences(gateway, context, parsed),
            context.received,
            context.received_at,
            self._active.policy.version,
            asyncio.current_task(gateway.loop),
        )

    async def _ask(self, state: CallState, send: Send) -> SettledConversation | None:
        """None where the client was told why not."""
        gateway, context = self._gateway, self._context
        try:
            answer = await gateway.dispatcher.ask(self._active, state)
        except ApiError as error:
            if state.ending is None:
                log_refused(gateway, context, error, self._parsed.model)
            await respond_error(send, context, error, decision_headers(state))
            return None
        assert isinstance(answer, SettledConversation)
        return answer

    async def _converse(
        self, state: CallState, socket: ClientSocket, stream: SettledConversation
    ) -> None:
        context = self._context
        own = (b"x-request-id", context.request_id.encode())
        try:
            socket.accept(self._upgrade, [own, *decision_headers(state)])
        except ConnectionResetError:
            state.stop_cause = "disconnected"
            await stream.aclose()
            return
        context.begun = True
        ahead = Ahead(state, stream, self._parsed.output_tokens)
        gateway = self._gateway
        key = KeyInForce(gateway.keys, context, state, gateway.dispatcher.timer)
        await ConversationRelay(state, socket, stream, ahead, key).run()
