"""Who of the house does which job, and who hears of one that is given up."""

from __future__ import annotations

import logging
from collections.abc import Callable

from bridge.app.arriving import let_in
from bridge.app.handouts import Handouts
from bridge.app.newsroom import AnnouncementJob, Newsroom
from bridge.app.past import Past
from bridge.core.errors import BadRequest, Forbidden, NotFound
from bridge.core.ids import CommunityId, RoomId
from bridge.core.languages import EN
from bridge.core.links import Stage
from bridge.core.messages import (
    AnswerRequest,
    AskToJoin,
    ChangeMembership,
    Deactivate,
    ExpireRequest,
    GiveHistory,
    Job,
    LetIn,
    MakeGroup,
    PostCard,
    RedactEvent,
    ReleaseGroup,
    RemindOfRequest,
    SayWelcome,
    SendMembers,
    SendMessage,
    ShareKeys,
    ShowLink,
    TakeBackState,
    Welcome,
)
from bridge.e2ee.keys import Keys
from bridge.features.arrivals import Arrivals
from bridge.features.deactivation import Deactivations
from bridge.features.enforcement import Enforcement
from bridge.features.entering import Entering
from bridge.features.groups import Groups
from bridge.features.members import Members
from bridge.features.readiness import Readiness
from bridge.features.reconcile import Reconciler
from bridge.features.requests import Requests
from bridge.matrix.executor import Executor
from bridge.matrix.sender import Sender
from bridge.store.database import Database
from bridge.worker import Complete, Park

log = logging.getLogger(__name__)


class Dispatch:
    """Hands each job to whoever does it; those about announcements to the newsroom."""

    def __init__(
        self,
        *,
        sender: Sender,
        newsroom: Newsroom,
        executor: Executor,
        enforcement: Enforcement,
        keys: Keys,
        database: Database,
        entering: Entering,
        members: Members,
        arrivals: Arrivals,
        deactivations: Deactivations,
        groups: Groups,
        handouts: Handouts,
        requests: Requests,
        readiness: Readiness,
        past: Past,
        reconciler: Reconciler,
        look_again: Callable[[CommunityId], None],
    ) -> None:
        """
        Args:
            look_again: has a community looked at again.
        """
        self._sender = sender
        self._newsroom = newsroom
        self._executor = executor
        self._enforcement = enforcement
        self._keys = keys
        self._database = database
        self._entering = entering
        self._members = members
        self._arrivals = arrivals
        self._deactivations = deactivations
        self._groups = groups
        self._handouts = handouts
        self._requests = requests
        self._readiness = readiness
        self._past = past
        self._reconciler = reconciler
        self._look_again = look_again

    async def do(self, job_id: str, job: Job, complete: Complete) -> None:
        """Do a job: safe to repeat."""
        match job:
            case SendMessage():
                await self._sender.send(job.room_id, job.content, txn_id=job_id)
            case _ if isinstance(job, AnnouncementJob):
                await self._newsroom.do(job_id, job, complete)
            case RedactEvent():
                await self._executor.redact(job.room_id, job.event_id, job.reason, txn_id=job_id)
            case ShareKeys():
                await self._share_keys(job.room_id)
            case TakeBackState():
                await self._enforcement.take_back(job_id, job)
            case GiveHistory():
                again_at = await self._keys.catch_up(job.room_id)
                if again_at is not None:
                    async with self._database.transaction() as tx:
                        await complete(tx)
                        await self._past.wanted(tx, job.room_id, again_at)
            case _:
                await self._do_about_people(job_id, job, complete)

    async def _do_about_people(
        self,
        job_id: str,
        job: LetIn
        | ChangeMembership
        | AskToJoin
        | PostCard
        | AnswerRequest
        | RemindOfRequest
        | ExpireRequest
        | Welcome
        | SayWelcome
        | ReleaseGroup
        | Deactivate
        | ShowLink
        | SendMembers
        | MakeGroup,
        complete: Complete,
    ) -> None:
        match job:
            case LetIn():
                await let_in(
                    job,
                    complete,
                    entering=self._entering,
                    arrivals=self._reconciler.arrivals,
                    look_again=self._look_again,
                )
            case ChangeMembership():
                community = self._reconciler.declared.get(job.community)
                await self._members.do(job_id, job, EN if community is None else community.language)
                self._look_again(job.community)
            case Welcome() | SayWelcome():
                await self._arrivals.do(job_id, job)
            case Deactivate():
                await self._deactivations.do(job_id, job)
            case ReleaseGroup():
                await self._groups.release_now(job_id, job)
                self._look_again(job.community)
            case ShowLink() | SendMembers():
                await self._handouts.do(job_id, job)
            case MakeGroup():
                declared = self._reconciler.declared.get(job.community)
                if declared is not None:
                    await self._groups.grant(job_id, declared, job)
                    self._look_again(job.community)
            case _:
                await self._requests.do(job_id, job)

    async def _share_keys(self, room_id: RoomId) -> None:
        try:
            again = await self._keys.prepare(room_id)
        except (Forbidden, NotFound, BadRequest) as error:
            log.info("no keys go out ahead for %s: %s", room_id, error.what)
            return
        if again is not None:
            async with self._database.transaction() as tx:
                await self._readiness.share(tx, room_id, at=again)

    async def given_up(self, job_id: str, job: Job | None, reason: str, park: Park) -> None:
        """See who has to hear that a job was given up."""
        log.error("job %s was given up: %s", job_id, reason)
        if isinstance(job, AnnouncementJob):
            await self._newsroom.given_up(job_id, job, reason, park)
        if isinstance(job, LetIn):
            await self._entering.came(job.ticket, Stage.FAILED)
