"""The line to a RabbitMQ server: one thread that owns the connection, serves its heartbeats and connects again.

pika's connections belong to one thread. This one runs an event loop; other threads hand it coroutines and wait.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
import threading
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import CancelledError, Future
from typing import Any, TypeVar

import pika
import structlog
from pika.adapters.asyncio_connection import AsyncioConnection
from pika.adapters.utils.connection_workflow import AMQPConnectorException
from pika.exceptions import AMQPError, ProbableAccessDeniedError, ProbableAuthenticationError

from watcher.core.backoff import backoff
from watcher.core.errors import Denied, Unavailable
from watcher.queues.brokers.address import AmqpAddress

T = TypeVar("T")
log = structlog.get_logger(__name__)
logging.getLogger("pika").setLevel(logging.CRITICAL)  # it logs with tracebacks whatever it raises as well

HEARTBEAT = 30
"""Seconds; a server that is silent for somewhat more than twice as long is taken for dead."""
CONNECT_TIMEOUT = 10.0
ANSWER_TIMEOUT = 30.0
"""Seconds that the server may take for one thing; longer than it needs to find another leader for a queue."""
BLOCKED_TIMEOUT = 30.0
"""Seconds that a server may refuse to take messages, for want of disk or memory, before the connection is given up."""
BACKOFF, MOST_BACKOFF = 0.2, 10.0
GOODBYE = 2.0
"""Seconds that a server may take to answer our leaving."""
NOT_FOUND = 404
_DENIED = (403, 530)  # access refused; a virtual host that is not there or not for this user
_TROUBLES = (AMQPError, AMQPConnectorException, OSError)


class Channel:
    """A channel whose methods can be waited for. When it closes, whoever waits gets the reason raised."""

    def __init__(self, raw: Any, session: Session) -> None:
        self.raw, self._session = raw, session
        self.closed: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()
        raw.add_on_close_callback(lambda _, reason: self.closed.set_result(reason))

    async def ask(self, method: str, **arguments: Any) -> Any:
        """Call one of pika's methods, and wait for the frame that answers it."""
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        getattr(self.raw, method)(**arguments, callback=answer.set_result)
        return await self.answer(answer)

    async def answer(self, answer: asyncio.Future[T]) -> T:
        """What `answer` becomes. A server that does not answer is given up, with the whole connection."""
        if await self.wait_for(answer, ANSWER_TIMEOUT):
            return answer.result()
        problem = Unavailable(f"no answer within {ANSWER_TIMEOUT:.0f} s")
        self._session.end(problem)
        raise problem

    async def wait_for(self, answer: asyncio.Future[Any], timeout: float) -> bool:
        """Whether `answer` is there within `timeout` seconds."""
        await asyncio.wait((answer, self.closed), timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        if self.closed.done() and not answer.done():
            raise self.closed.result()
        return answer.done()


class Connection(AsyncioConnection):  # type: ignore[misc]  # pika has no types
    """pika's, which also can be left without a word."""

    def drop(self) -> None:
        """Close the socket, of a server that does not answer our good-bye. Only of one that was open."""
        self._adapter_disconnect_stream()


class Session:
    """One connection from its opening to its end; what was delivered in it is void afterwards."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.ended: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()
        connection.add_on_close_callback(lambda _, reason: self.end(reason))

    def end(self, reason: BaseException) -> None:
        """Give the connection up, if it has not ended already."""
        if not self.ended.done():
            self.ended.set_result(reason)

    async def channel(self) -> Channel:
        """A new channel."""
        opened: asyncio.Future[Channel] = asyncio.get_running_loop().create_future()
        self.connection.channel(on_open_callback=lambda raw: opened.set_result(Channel(raw, self)))
        await asyncio.wait((opened, self.ended), timeout=ANSWER_TIMEOUT, return_when=asyncio.FIRST_COMPLETED)
        if opened.done():
            return opened.result()
        self.end(Unavailable(f"no answer within {ANSWER_TIMEOUT:.0f} s"))
        raise self.ended.result()


class Line:
    """Keeps a session open. `prepare` makes each new one ready; what it raises ends that one."""

    def __init__(self, address: AmqpAddress, prepare: Callable[[Session], Awaitable[None]], heartbeat: int) -> None:
        self._address, self._prepare, self._heartbeat = address, prepare, heartbeat
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
        """Run `work` on the line's thread and wait for it. Raises Unavailable, at once while there is no connection."""
        try:
            return self._submit(work).result()
        except _TROUBLES as error:
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
            return RuntimeError(f"the connection to {self._address.name} has died of a fault")
        return Unavailable(f"{self._address.name} is closed")

    def close(self) -> None:
        """Say good-bye, which gives back what is not acknowledged. Every later call raises Unavailable."""
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
                log.exception("broker_line_died", broker=self._address.name)
                self._death = error
            with self._lock:
                self._ended = True
        for call in list(self._calls):  # of those that the loop has not even seen
            call.cancel()

    async def _keep_open(self) -> None:
        """Connect, wait for the end, connect again."""
        self._keeper, failures = asyncio.current_task(), 0
        while not self._ended:
            try:
                reason = await self._connected()
                failures = 0
            except (*_TROUBLES, Unavailable) as error:
                reason = error
                failures += 1
            problem = translated(self._address, reason)
            self._tell_lost(problem)
            if failures:
                self._fail(problem)
            await asyncio.sleep(backoff(failures, BACKOFF, MOST_BACKOFF))
            self._session = self._loop.create_future()

    def _tell_lost(self, problem: Unavailable) -> None:
        if not self._lost:
            log.warning("broker_lost", broker=self._address.name, problem=str(problem))
        self._lost = True

    def _tell_found(self) -> None:
        if self._lost:
            log.info("broker_found", broker=self._address.name)
        self._lost = False

    def _fail(self, problem: Unavailable) -> None:
        """Whoever waits for a connection is told, and whoever asks for one before the next attempt."""
        if self._session.done():
            self._session = self._loop.create_future()
        self._session.set_exception(problem)
        self._session.exception()  # nobody may have waited, which is no fault

    async def _connected(self) -> BaseException:
        """One session from beginning to end; why it has ended."""
        session = await self._open()
        try:
            async with asyncio.timeout(4 * CONNECT_TIMEOUT):
                await self._prepare(session)
            self._tell_found()
            self._session.set_result(session)
            return await session.ended
        finally:
            await self._hang_up(session)

    async def _open(self) -> Session:
        opened: asyncio.Future[Connection] = self._loop.create_future()

        def failed(_: object, error: BaseException) -> None:
            if not opened.done():
                opened.set_exception(error)

        parameters = _parameters(self._address, self._heartbeat)
        connection = Connection(parameters, opened.set_result, on_open_error_callback=failed)
        try:
            return Session(await asyncio.shield(opened))
        except asyncio.CancelledError:
            self._loop.set_exception_handler(_tell_fault)
            with contextlib.suppress(*_TROUBLES):
                # pika forgets the socket of an attempt that is given up while it is passed from one layer to the next.
                await asyncio.wait((opened,), timeout=GOODBYE)
                if not opened.done():
                    connection.close()
                await self._hang_up(Session(await opened))
            raise

    async def _hang_up(self, session: Session) -> None:
        connection = session.connection
        if not connection.is_closed:
            closed: asyncio.Future[None] = self._loop.create_future()
            connection.add_on_close_callback(lambda *_: closed.set_result(None))
            if connection.is_open:
                connection.close()
            await asyncio.wait((closed,), timeout=GOODBYE)
            if not closed.done():
                connection.drop()
                await closed
        session.end(Unavailable(f"{self._address.name} is closed"))


def _tell_fault(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """All but pika's surprise, in a callback, that an attempt which was given up has not succeeded."""
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
    """What is wrong with the world, in our words. A failed attempt to connect hides its cause in layers."""
    if isinstance(error, Unavailable):
        return error
    cause = _innermost(error)
    text = f"{address.name}: {getattr(cause, 'reply_text', '') or str(cause) or type(cause).__name__}"
    denied = isinstance(cause, ProbableAuthenticationError | ProbableAccessDeniedError)
    kind = Denied if denied or getattr(cause, "reply_code", None) in _DENIED else Unavailable
    return kind(text, public=text)  # brokers know nothing of images


def _innermost(error: BaseException) -> BaseException:
    inner = getattr(error, "exception", None) or (*getattr(error, "exceptions", ()), *error.args)[-1:]
    inner = inner[0] if isinstance(inner, tuple) and inner else inner
    return _innermost(inner) if isinstance(inner, BaseException) else error
