"""The connection to a RabbitMQ server: one thread owns it, serves its heartbeats and reconnects.

A pika connection may be used by one thread only. This one runs an event loop; other threads submit coroutines to it.
Decision 0029 says why it is not aio-pika's robust connection.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import ssl
import threading
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import CancelledError, Future
from typing import Any, TypeVar

import pika
import structlog
from pika.adapters.asyncio_connection import AsyncioConnection, _AsyncioIOServicesAdapter
from pika.adapters.utils.connection_workflow import AMQPConnectorException
from pika.adapters.utils.nbio_interface import AbstractIOReference
from pika.exceptions import AMQPError, ChannelClosedByBroker, ProbableAccessDeniedError, ProbableAuthenticationError

from watcher.core.backoff import Backoff
from watcher.core.errors import Denied, Unavailable
from watcher.queues.brokers.address import AmqpAddress

T = TypeVar("T")
log = structlog.get_logger(__name__)
logging.getLogger("pika").setLevel(logging.CRITICAL)  # it logs a traceback of everything it raises

HEARTBEAT = 30
"""Seconds; a server that sends nothing for somewhat more than twice as long is considered dead."""
CONNECT_TIMEOUT = 10.0
ANSWER_TIMEOUT = 30.0
"""Seconds that one request may take; longer than a cluster needs to elect a queue's next leader."""
BLOCKED_TIMEOUT = 30.0
"""Seconds that a server may block publishers, for lack of disk or memory, before we disconnect."""
RECONNECT_BACKOFF = (0.2, 10.0)
"""First and longest wait, in seconds, before the next attempt to connect."""
CLOSE_TIMEOUT = 2.0
"""Seconds that a server may take to confirm that the connection closes."""
NOT_FOUND = 404
_SHUT_DOWN = 320
_DENIED = (403, 530)  # access refused; a virtual host that does not exist or is not allowed
_ERRORS = (AMQPError, AMQPConnectorException, OSError)


class Channel:
    """A channel with methods to await. When it closes, they raise the reason."""

    def __init__(self, raw: Any, session: Session) -> None:
        self.raw, self._session = raw, session
        self.closed: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()
        raw.add_on_close_callback(lambda _, reason: self.closed.set_result(reason))

    async def ask(self, method: str, **arguments: Any) -> Any:
        """Call one of pika's methods, and return the frame that answers it."""
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        getattr(self.raw, method)(**arguments, callback=answer.set_result)
        return await self.answer(answer)

    async def answer(self, answer: asyncio.Future[T]) -> T:
        """Await `answer`. If it does not come in time, the session ends and Unavailable is raised."""
        if await self.wait_for(answer, ANSWER_TIMEOUT):
            return answer.result()
        problem = Unavailable(f"no answer within {ANSWER_TIMEOUT:.0f} s")
        self._session.end(problem)
        raise problem

    async def wait_for(self, answer: asyncio.Future[Any], timeout: float) -> bool:
        """Wait up to `timeout` seconds; returns whether `answer` is there. Raises why the channel closed."""
        await asyncio.wait((answer, self.closed), timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        if self.closed.done() and not answer.done():
            raise self.closed.result()
        return answer.done()


class Lookup(AbstractIOReference):  # type: ignore[misc]  # pika has no types
    """The lookup of a host's address. pika's own calls back even if it is cancelled after it found the address."""

    def __init__(self, lookup: Coroutine[Any, Any, Any], on_done: Callable[[Any], None]) -> None:
        self._on_done = on_done
        self._cancelled = False
        self._task = asyncio.ensure_future(lookup)
        self._task.add_done_callback(self._finish)

    def cancel(self) -> bool:
        """Never call back. Returns whether the lookup was still in progress."""
        self._cancelled = True
        return self._task.cancel()

    def _finish(self, task: asyncio.Task[Any]) -> None:
        if not task.cancelled():
            found = task.exception() or task.result()
            if not self._cancelled:
                self._on_done(found)


class IoServices(_AsyncioIOServicesAdapter):  # type: ignore[misc]  # pika has no types
    """pika's use of the event loop. An attempt that is aborted during the lookup opens no socket afterwards."""

    def getaddrinfo(self, host: str, port: int, on_done: Callable[[Any], None], **hints: int) -> Lookup:
        """Look up the addresses of `host`, and call `on_done` with them or with the exception."""
        hints["type"] = hints.pop("socktype", 0)
        return Lookup(self.get_native_ioloop().getaddrinfo(host, port, **hints), on_done)


class Connection(AsyncioConnection):  # type: ignore[misc]  # pika has no types
    """pika's connection, which can also be closed without the server's confirmation."""

    def drop(self) -> None:
        """Close the socket of a connection that was open, if the server does not confirm."""
        self._adapter_disconnect_stream()


class Session:
    """One connection from its opening to its end. Its deliveries cannot be acknowledged afterwards."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.ended: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()
        connection.add_on_close_callback(lambda _, reason: self.end(reason))

    def end(self, reason: BaseException) -> None:
        """End the session, if it has not ended already."""
        if not self.ended.done():
            self.ended.set_result(reason)

    async def channel(self) -> Channel:
        """Open a channel. Raises why the session ended, or Unavailable."""
        opened: asyncio.Future[Channel] = asyncio.get_running_loop().create_future()
        self.connection.channel(on_open_callback=lambda raw: opened.set_result(Channel(raw, self)))
        await asyncio.wait((opened, self.ended), timeout=ANSWER_TIMEOUT, return_when=asyncio.FIRST_COMPLETED)
        if opened.done():
            return opened.result()
        self.end(Unavailable(f"no answer within {ANSWER_TIMEOUT:.0f} s"))
        raise self.ended.result()


class AmqpConnection:
    """Keeps a session open, and reconnects. `prepare` is called with each new session, and ends it if it raises."""

    def __init__(
        self,
        address: AmqpAddress,
        prepare: Callable[[Session], Awaitable[None]],
        heartbeat: int,
        *,
        visible: bool = True,
    ) -> None:
        """With `visible`, the loss of the connection is a warning; otherwise another process logs the outage."""
        self._address, self._prepare, self._heartbeat = address, prepare, heartbeat
        self._visible = visible
        self._loop = asyncio.new_event_loop()
        self._session: asyncio.Future[Session] = self._loop.create_future()
        self._lock = threading.Lock()
        self._calls: set[Future[Any]] = set()
        self._lost = self._ended = False
        self._death: BaseException | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._thread = threading.Thread(target=self._run, daemon=True, name="amqp")
        self._thread.start()

    def call(self, work: Callable[[Session], Coroutine[Any, Any, T]]) -> T:
        """Run `work` in the connection's thread, and wait. Raises Unavailable, at once if there is no connection."""
        try:
            return self._submit(work).result()
        except _ERRORS as error:
            raise self._end() if self._ended else translated(self._address, error) from error
        except CancelledError:
            raise self._end() from self._death

    def _submit(self, work: Callable[[Session], Coroutine[Any, Any, T]]) -> Future[T]:
        with self._lock:
            if self._ended:
                raise self._end() from self._death
            call = asyncio.run_coroutine_threadsafe(self._work(work), self._loop)
            self._calls.add(call)
        call.add_done_callback(self._calls.discard)
        return call

    def _end(self) -> Exception:
        if self._death:
            return RuntimeError(f"the connection to {self._address.name} has stopped because of an unexpected error")
        return Unavailable(f"{self._address.name} is closed")

    def close(self) -> None:
        """Disconnect, which requeues what is not acknowledged. Every later call raises Unavailable."""
        with self._lock:
            if not self._ended:
                self._ended = True
                self._loop.call_soon_threadsafe(self._leave)
        self._thread.join()

    def _leave(self) -> None:
        if self._keeper:
            self._keeper.cancel()

    async def _work(self, work: Callable[[Session], Coroutine[Any, Any, T]]) -> T:
        return await work(await asyncio.shield(self._session))

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            try:
                runner.run(self._keep_open())
            except asyncio.CancelledError:
                pass
            except Exception as error:
                log.exception("broker_thread_died", broker=self._address.name)
                self._death = error
            with self._lock:
                self._ended = True
        for call in list(self._calls):  # those that the loop has not begun
            call.cancel()

    async def _keep_open(self) -> None:
        """Connect, wait until the session ends, connect again."""
        self._keeper, backoff = asyncio.current_task(), Backoff(*RECONNECT_BACKOFF)
        while not self._ended:
            connected = False
            try:
                reason = await self._connected()
                connected = True
                backoff.reset()
            except (*_ERRORS, Unavailable) as error:
                reason = error
            problem = translated(self._address, reason)
            self._log_disconnected(problem)
            if not connected:
                self._fail(problem)
            backoff.fail()
            await asyncio.sleep(backoff.delay())
            self._session = self._loop.create_future()

    def _log_disconnected(self, problem: Unavailable) -> None:
        if not self._lost and self._visible:
            log.warning("broker_disconnected", broker=self._address.name, problem=str(problem))
        elif not self._lost:
            log.debug("broker_disconnected", broker=self._address.name, problem=str(problem))
        self._lost = True

    def _log_reconnected(self) -> None:
        if self._lost and self._visible:
            log.info("broker_reconnected", broker=self._address.name)
        elif self._lost:
            log.debug("broker_reconnected", broker=self._address.name)
        self._lost = False

    def _fail(self, problem: Unavailable) -> None:
        """Raise `problem` in every call that waits for a session, and in those before the next attempt."""
        if self._session.done():
            self._session = self._loop.create_future()
        self._session.set_exception(problem)
        self._session.exception()  # marks it as retrieved: there may be no such call

    async def _connected(self) -> BaseException:
        """Run one session, and return why it ended."""
        session = await self._open()
        try:
            async with asyncio.timeout(4 * CONNECT_TIMEOUT):
                await self._prepare(session)
            self._log_reconnected()
            self._session.set_result(session)
            return await session.ended
        finally:
            await self._close_session(session)

    async def _open(self) -> Session:
        opened: asyncio.Future[Connection] = self._loop.create_future()

        def failed(_: object, error: BaseException) -> None:
            if not opened.done():
                opened.set_exception(error)

        parameters = _parameters(self._address, self._heartbeat)
        services = IoServices(self._loop)
        connection = Connection(parameters, opened.set_result, on_open_error_callback=failed, custom_ioloop=services)
        try:
            return Session(await asyncio.shield(opened))
        except asyncio.CancelledError:
            self._loop.set_exception_handler(_report_exception)
            with contextlib.suppress(*_ERRORS):
                if not (opened.done() or connection.is_closing):
                    connection.close()
                await self._close_session(Session(await opened))
            raise

    async def _close_session(self, session: Session) -> None:
        """Disconnect. The socket is closed even if this is cancelled."""
        closing = asyncio.ensure_future(self._disconnect(session))
        try:
            await asyncio.shield(closing)
        finally:
            await closing

    async def _disconnect(self, session: Session) -> None:
        connection = session.connection
        if not connection.is_closed:
            closed: asyncio.Future[None] = self._loop.create_future()
            connection.add_on_close_callback(lambda *_: closed.set_result(None))
            if connection.is_open:
                connection.close()
            await asyncio.wait((closed,), timeout=CLOSE_TIMEOUT)
            if not closed.done():
                connection.drop()
                await closed
        session.end(Unavailable(f"{self._address.name} is closed"))


def _report_exception(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Report every error but the AssertionError in pika's callback of an aborted attempt."""
    if not isinstance(context.get("exception"), AssertionError):
        loop.default_exception_handler(context)


def _parameters(address: AmqpAddress, heartbeat: int) -> pika.ConnectionParameters:
    return pika.ConnectionParameters(
        host=address.host,
        port=address.port,
        virtual_host=address.vhost,
        credentials=pika.PlainCredentials(address.user, address.password),
        ssl_options=pika.SSLOptions(ssl.create_default_context(), address.host) if address.tls else None,
        heartbeat=heartbeat,
        socket_timeout=CONNECT_TIMEOUT,
        stack_timeout=CONNECT_TIMEOUT,
        blocked_connection_timeout=BLOCKED_TIMEOUT,
        client_properties={"connection_name": "alphadrop"},
    )


def translated(address: AmqpAddress, error: BaseException) -> Unavailable:
    """Convert pika's errors to Unavailable or Denied. A failed connection nests its cause in several layers."""
    if isinstance(error, Unavailable):
        return error
    cause = _innermost(error)
    system = ""
    if isinstance(cause, OSError) and cause.errno and not isinstance(cause, ssl.SSLError):  # whose errno is OpenSSL's
        system = os.strerror(cause.errno).lower()
    said = getattr(cause, "reply_text", "") or system or str(cause) or type(cause).__name__
    if getattr(cause, "reply_code", None) == _SHUT_DOWN:
        said = "the server has closed the connection, as it does when it is stopped or restarted"
    text = f"{address.name}: {said}"
    denied = isinstance(cause, ProbableAuthenticationError | ProbableAccessDeniedError)
    kind = Denied if denied or getattr(cause, "reply_code", None) in _DENIED else Unavailable
    problem = kind(text, public=text)  # it names no image
    problem.announced = not isinstance(cause, ChannelClosedByBroker)  # then it is the connection, which logs its loss
    return problem


def _innermost(error: BaseException) -> BaseException:
    inner = getattr(error, "exception", None) or (*getattr(error, "exceptions", ()), *error.args)[-1:]
    inner = inner[0] if isinstance(inner, tuple) and inner else inner
    return _innermost(inner) if isinstance(inner, BaseException) else error
