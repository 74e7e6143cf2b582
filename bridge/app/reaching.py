"""What can be asked about how far announcements came and who confirmed them; and the files that are made of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import tzinfo
from typing import Any

from bridge.app.audiences import Right, must_be_right
from bridge.app.naming import announcement_meant, announcement_named
from bridge.core import charts, texts
from bridge.core.community import Community
from bridge.core.errors import Refused
from bridge.core.ids import CommunityId, RoomId, UserId
from bridge.core.languages import Language
from bridge.core.markup import plain
from bridge.core.messages import SendFigures
from bridge.core.reach import Figures, as_table, bars_of
from bridge.features.acknowledgements import Acknowledgements
from bridge.features.announcements import Announcements
from bridge.features.reach import Reach
from bridge.ports import Clock, File, Messenger
from bridge.store import announcements as store
from bridge.store.database import Database
from bridge.store.jobs import Jobs

SHOWN = 10
"""How many of the last announcements an answer lists."""
DRAWN = 40
"""How many a picture shows."""
MOST = 500
RightOf = Callable[[CommunityId, UserId | None], Awaitable[Right]]


class ReachDesk:
    """Reads what is asked, and says it: to whoever may announce to the same people. Files for chats are made when they
    are sent."""

    def __init__(
        self,
        *,
        reach: Reach,
        acknowledgements: Acknowledgements,
        announcements: Announcements,
        right_of: RightOf,
        name_of: Callable[[CommunityId], Awaitable[str]],
        zone_of: Callable[[CommunityId, UserId | None], tzinfo],
        messenger: Messenger,
        database: Database,
        jobs: Jobs,
        wake: Callable[[], None],
        clock: Clock,
    ) -> None:
        self._reach = reach
        self._acknowledgements = acknowledgements
        self._announcements = announcements
        self._right_of = right_of
        self._name_of = name_of
        self._zone_of = zone_of
        self._messenger = messenger
        self._database = database
        self._jobs = jobs
        self._wake = wake
        self._clock = clock

    async def reach(
        self, community: Community, by: UserId | None, what: Mapping[str, Any], language: Language
    ) -> dict[str, Any]:
        """How far one announcement came, where `announcement` (or the message in `reply_to`) names one, or the last.

        Gives `said` and `announcements`, as `core/reach.Figures.as_json` has them; for the operator also `csv` and
        `svg`. In a chat (`room`) a picture follows, or with `file` the table.

        Raises:
            Refused: there is no such announcement.
        """
        names, zone = community.reach_names, self._zone_of(community.id, by)
        right = await self._right_of(community.id, by)
        found = await announcement_named(self._announcements, community.id, what)
        if found is not None:
            must_be_right(right, found.audience, community.id)
            one = await self._reach.of(community.id, found.id, names=names)
            if one is None:
                raise _nothing_of_that_name(community)
            shown = one.as_json(names=names)
            said = [texts.reach_shown(shown, language, zone), texts.reach_limits(language)]
            return {"said": said, "announcements": [shown], "csv": as_table([one])}
        figures = await self._reach.latest(community.id, _most(what), names=names, which=right)
        listed = [one.as_json(names=names) for one in figures]
        name = await self._name_of(community.id)
        said = [texts.reach_listed(listed[:SHOWN], name, language, zone), texts.reach_limits(language)]
        if by is None:
            picture = charts.as_svg(bars_of(figures[:DRAWN]), name, plain(texts.reach_legend(language)))
            return {"said": said, "announcements": listed, "csv": as_table(figures), "svg": picture}
        if figures:
            kind = "table" if what.get("file") is True else "picture"
            await self._send(what, SendFigures(RoomId(str(what["room"])), community.id, by, kind, ""))
            said.append(texts.file_follows(language) if kind == "table" else texts.reach_picture(language))
        return {"said": said, "announcements": listed}

    async def acknowledgement(
        self, community: Community, by: UserId | None, what: Mapping[str, Any], language: Language
    ) -> dict[str, Any]:
        """Who has confirmed an announcement and who has not, by name: that is its purpose, and members are told.

        Gives `said`, `acknowledgement` as `core/reach.Standing.as_json` has it, and `csv`; in a chat with `file` the
        table follows.

        Raises:
            Refused: there is no such announcement, or nobody was asked to confirm it.
        """
        _, found = await announcement_meant(self._announcements, community.id, what)
        must_be_right(await self._right_of(community.id, by), found.audience, community.id)
        standing = await self._acknowledgements.standing(community.id, found.id)
        if standing is None:
            raise Refused(
                "nobody was asked to confirm that announcement",
                where=str(community.id),
                remedy="`announce --ack …` asks for it",
            )
        shown = standing.as_json()
        said = [texts.acknowledgement_shown(shown, language)]
        if by is None:
            return {"said": said, "acknowledgement": shown, "csv": standing.as_table()}
        if what.get("file") is True:
            job = SendFigures(RoomId(str(what["room"])), community.id, by, "acknowledgement", found.id)
            await self._send(what, job)
            said.append(texts.file_follows(language))
        return {"said": said, "acknowledgement": shown}

    async def _send(self, what: Mapping[str, Any], job: SendFigures) -> None:
        """Have a file sent; the same source is the same file."""
        async with self._database.transaction() as tx:
            await self._jobs.add(tx, f"figures-{what['source']}", job.room_id, job, self._clock.now_ms())
        self._wake()

    async def send(self, job_id: str, job: SendFigures) -> None:
        """Make a file and send it, if whoever asked may still have it: safe to repeat.

        Raises:
            CannotEncrypt, MatrixError: it cannot be sent now.
        """
        file = await self._file(job)
        if file is not None:
            await self._messenger.send_file(job.room_id, file, txn_id=job_id)

    async def _file(self, job: SendFigures) -> File | None:
        right = await self._right_of(job.community, job.by)
        if job.what == "acknowledgement":
            async with self._database.transaction() as tx:
                about = await store.get(tx, job.announcement)
            if about is None or not right(about.audience):
                return None
            standing = await self._acknowledgements.standing(job.community, job.announcement)
            return None if standing is None else _csv(f"confirmations-{standing.number}", standing.as_table())
        figures = await self._reach.latest(job.community, MOST if job.what == "table" else DRAWN, which=right)
        if not figures:
            return None
        return _csv(f"reach-{job.community}", as_table(figures)) if job.what == "table" else _picture(job, figures)


def _csv(name: str, table: str) -> File:
    # by the mark at its beginning spreadsheets know that it is UTF-8
    return File(f"{name}.csv", "text/csv", table.encode("utf-8-sig"))


def _picture(job: SendFigures, figures: list[Figures]) -> File:
    bars = bars_of(figures)
    return File(f"reach-{job.community}.png", "image/png", charts.as_png(bars), charts.size_of(bars))


def _most(what: Mapping[str, Any]) -> int:
    value = what.get("most")
    return value if type(value) is int and 1 <= value <= MOST else DRAWN


def _nothing_of_that_name(community: Community) -> Refused:
    return Refused("there is no such announcement", where=str(community.id), remedy="`announcements` shows the numbers")
