"""What happens to somebody who used a link: where the feature that counts uses and the one that invites meet."""

from __future__ import annotations

from collections.abc import Callable

from bridge.core.community import Role
from bridge.core.ids import CommunityId
from bridge.core.links import Stage
from bridge.core.messages import LetIn
from bridge.features.entering import Entering
from bridge.features.reconcile.arrivals import Arrivals
from bridge.worker import Complete


async def let_in(
    job: LetIn,
    complete: Complete,
    *,
    entering: Entering,
    arrivals: Arrivals,
    look_again: Callable[[CommunityId], None],
) -> None:
    """Invite somebody who came by a link, unless it was taken back while they waited. Safe to do twice.

    Raises:
        MatrixError, Refused: as `Arrivals.let_in` and `Arrivals.grant`.
    """
    entry = await entering.entry(job.ticket)
    link = None if entry is None else await entering.by_id(entry.link)
    if link is None or link.revoked_at is not None:
        await entering.came(job.ticket, Stage.BARRED, complete)
        return
    arrival = await arrivals.let_in(job.community, job.user, link.groups)
    if not arrival.welcome:
        stage = Stage.FAILED if arrival.refusal else Stage.BARRED
        await entering.came(job.ticket, stage, complete)
        return
    if link.role is not Role.MEMBER:
        await arrivals.grant(job.community, job.user, link.role, link.groups)
    await entering.came(job.ticket, Stage.INVITED, complete)
    if arrival.look_again or link.role is not Role.MEMBER:
        look_again(job.community)
