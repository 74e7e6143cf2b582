"""The port of the service, held for a while by a command that works alone."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from aiohttp import web

from bridge.app.house import House, InterestIndex
from bridge.core.errors import CommunitiesError
from bridge.intake.transactions import MAX_BODY_BYTES, Transactions
from bridge.store.inbox import Inbox

SHUTDOWN_SECONDS = 10.0


@asynccontextmanager
async def listening(house: House, app: web.Application) -> AsyncIterator[None]:
    """Listen at the configured address while the context is open.

    Raises:
        CommunitiesError: the port is taken.
    """
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=SHUTDOWN_SECONDS)
    await runner.setup()
    listen = house.config.listen
    try:
        try:
            await web.TCPSite(runner, listen.host, listen.port).start()
        except OSError as error:
            raise CommunitiesError(
                f"cannot listen on {listen.host}:{listen.port} ({error.strerror or error})",
                where="listen",
                remedy="see whether the service runs already, or choose another `listen.port`",
            ) from error
        yield
    finally:
        await runner.cleanup()


def transactions_of(
    house: House, inbox: Inbox, on_stored: Callable[[], None], on_failure: Callable[[], None]
) -> Transactions:
    """The endpoints of the homeserver, for this house."""
    return Transactions(
        hs_token=house.config.registration.hs_token.reveal(),
        steward=house.config.steward,
        announcer=house.config.announcer,
        rooms=InterestIndex(house.index),
        inbox=inbox,
        clock=house.clock,
        on_stored=on_stored,
        on_failure=on_failure,
        on_receipts=house.newsroom.reach.read,
    )


@asynccontextmanager
async def listening_alone(house: House) -> AsyncIterator[Callable[[str, float], Awaitable[bool]]]:
    """Take transactions into the inbox and answer pings, for `check`; what comes in is worked off by the next run."""

    def nothing() -> None:
        """Nobody waits for what is stored."""

    transactions = transactions_of(house, Inbox(house.database), nothing, nothing)
    app = web.Application(client_max_size=MAX_BODY_BYTES)
    transactions.add_routes(app)
    async with listening(house, app):
        yield transactions.wait_ping
