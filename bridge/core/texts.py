"""Every sentence that is shown to people on Matrix."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from bridge.core.lines import LONGEST_NAME, one_line

GREETING = (
    "Hello! I am the announcer. I carry announcements into the communities on this server.\n"
    "Write `help` to see what you can ask of me."
)
ENCRYPTED_ONLY = "I only talk in encrypted chats of two. Please start a new chat with me, with encryption on."
TWO_ONLY = "I only talk in chats of two, so I leave this one."
UNREADABLE = (
    "I could not read your message: its key did not reach me. Please send it again; "
    "if that does not help, restart your app."
)
NO_COMMUNITIES = "You are not an owner or admin of any community, so there is nothing to show."


def help_text(communities: Iterable[str]) -> str:
    """What somebody may ask, with the communities in which they may announce."""
    names = list(communities)
    if not names:
        return (
            "I carry announcements. Owners and admins of a community can write to me here; you are neither, "
            "so there is nothing for you to do: announcements reach you in the announcement room."
        )
    example = names[0]
    return (
        "You can write to me:\n\n"
        f"- `announce {example} Your text` – sends your text to everybody in {example}\n"
        "- `status` – shows your communities\n"
        "- `help` – shows this\n\n"
        "Owners can also write:\n\n"
        f"- `apply {example} <plan>` – carries out a change that was held back\n"
        f"- `thaw {example}` – lifts a lock after a dispute over settings\n\n"
        f"You can announce in: {', '.join(names)}."
    )


def not_understood(text: str) -> str:
    word = text.split(maxsplit=1)[0][:40] if text.split() else ""
    return f"I do not know “{word}”. Write `help` to see what you can ask of me."


def unknown_community(name: str, may: Iterable[str]) -> str:
    names = ", ".join(may)
    hint = f" You can announce in: {names}." if names else ""
    return f"I know no community “{name[:60]}” in which you may do that.{hint}"


def announce_what(community: str) -> str:
    return f"What shall I announce? Write `announce {community} Your text`."


def announced(community: str, devices: int, unreached: int = 0) -> str:
    can = "1 device can" if devices == 1 else f"{devices} devices can"
    text = f"Sent to {community}. {can} read it."
    if unreached:
        cannot = "1 member cannot" if unreached == 1 else f"{unreached} members cannot"
        text += f" {cannot}: none of their devices was given the key. The operator's `status` says why."
    return text


def announcement_failed(community: str, why: str) -> str:
    return f"Your announcement did not reach {community}: {why}"


def plan_held(digest: str, reasons: Iterable[str], community: str, owners: Iterable[str]) -> str:
    lines = "\n".join(f"- {reason}" for reason in reasons)
    names = ", ".join(sorted(owners)) or "owners"
    return (
        f"{names}: the configuration asks for a change that I hold back until an owner agrees:\n\n{lines}\n\n"
        f"An owner can agree by writing `!apply {community} {digest}` here, or to me in a direct chat."
    )


def frozen(room: str, community: str, owners: Iterable[str]) -> str:
    return (
        f"{_fight(room, owners)} I have locked it. When this is settled, an owner can write `!thaw {community}` here, "
        "or to me in a direct chat."
    )


def fight_in_the_control_room(room: str, community: str, owners: Iterable[str]) -> str:
    return (
        f"{_fight(room, owners)} I have not locked it, so that you can talk here. Only the service can change this, so "
        "somebody else has its token: tell whoever runs the service. When this is settled, an owner can write "
        f"`!thaw {community}` here, or to me in a direct chat."
    )


def _fight(room: str, owners: Iterable[str]) -> str:
    names = ", ".join(sorted(owners)) or "owners"
    room = one_line(room, LONGEST_NAME)
    return f"{names}: somebody keeps changing who may do what in “{room}”, and I keep putting it back."


def fight_over_profile(room: str, what: str) -> str:
    room = one_line(room, LONGEST_NAME)
    return f"Somebody keeps changing {what} of “{room}”, which the configuration holds. I no longer put it back."


def redacted_post(sender: str, room: str, why: str) -> str:
    return f"I take back what {sender} wrote in “{room}”: {why}."


def role_taken_over(user: str, role: str, by: str) -> str:
    return f"{user} is now {role}, as {by} decided."


def status(community: Mapping[str, Any]) -> str:
    """How a community stands, for its owners and admins (the JSON of `status` as words)."""
    members = community["members"]
    total = sum(members.values())
    roles = ", ".join(f"{count} {word}{'s' if count != 1 else ''}" for word, count in members.items() if count)
    people = f"{total} {'person' if total == 1 else 'people'}" + (f" ({roles})" if roles else "")
    name = one_line(community["name"], LONGEST_NAME)
    lines = [f"{name} ({community['id']}): {people}, {len(community['rooms'])} rooms."]
    if community.get("held"):
        lines.append(f"A change waits for an owner: `apply {community['id']} {community['held']}`.")
    if community["drift"]:
        lines.append("Not as it should be:")
        lines += [f"- {one_line(line)}" for line in community["drift"]]
    else:
        lines.append("Everything is as it should be.")
    return "\n".join(lines)


def which_plan(community: str, held: str) -> str:
    return f"To carry out the change that waits, write exactly: apply {community} {held}"


def applied(failures: Iterable[str]) -> str:
    """What came of an owner's word."""
    lines = "\n".join(f"- {failure}" for failure in failures)
    return f"Most of it is done, but not this:\n{lines}" if lines else "Done: the change was carried out."


THAWED = "The lock is lifted."
NOTHING_HELD = "No change is waiting for you."
ONLY_OWNERS = "Only an owner of that community can do that."
ONLY_ADMINS_POST = "only admins post in this room"
NOT_ENTITLED = "they may not change that in this room"
LONG_REACTION = "reactions and reasons in this room are short"
THE_SERVICE = "the service"
_WAYS = {"knock": "They knocked", "link": "They used a link", "suggestion": "Somebody suggested them"}


def join_request(community: str, user: str, name: str, how: str, detail: str, groups: Iterable[str]) -> str:
    """The facts of a join request: who asks, by which way, and what they wrote."""
    called = f" ({one_line(name, LONGEST_NAME)})" if name else ""
    lines = [f"{user}{called} asks to join {community}.", f"{_WAYS.get(how, how)}."]
    if detail:
        lines.append(f"{'They wrote' if how == 'knock' else 'It says'}: “{one_line(detail)}”")
    if keys := ", ".join(groups):
        lines.append(f"They would also be invited to: {keys}.")
    return "\n".join(lines)


def join_request_open(facts: str, user: str) -> str:
    """The card of a join request while nobody has decided it."""
    return (
        f"{facts}\n✅ lets them in, ❌ turns them away; whoever decides first decides. "
        f"You can also write `!approve {user}` or `!reject {user} reason` here."
    )


def join_request_decided(facts: str, state: str, by: str, reason: str) -> str:
    """The card of a join request once it is decided."""
    sign = "✅" if state == "approved" else "❌" if state == "rejected" else "–"
    why = f": {one_line(reason)}" if reason else ""
    return f"{facts}\n{sign} {state.capitalize()} by {by}{why}."


def request_decided(user: str, state: str, by: str, reason: str) -> str:
    return f"The request of {user} is {state} by {by}{f': {one_line(reason)}' if reason else ''}."


def request_waits(user: str, community: str) -> str:
    return f"{user} still waits for an answer to join {community}: react ✅ or ❌ to the card above."


def answer_to_request(community: str, state: str, reason: str, hours: int) -> str:
    """What somebody is told who asked to join. Whoever is let in sees the invitation, too."""
    why = f" They say: {one_line(reason)}" if reason else ""
    match state:
        case "approved":
            return f"You may join {community}: see your invitations."
        case "rejected":
            return f"Your request to join {community} was declined.{why}"
        case "expired":
            return f"Nobody answered your request to join {community} in time. You may ask again."
        case "too soon":
            return (
                f"Thank you for asking again. {community} declined a short while ago; you may ask again {hours} hours "
                "after that."
            )
        case _:
            return f"Your request to join {community} is closed."


def invited(user: str, community: str, groups: Iterable[str]) -> str:
    keys = ", ".join(groups)
    return f"{user} is invited to {community}{f', and to {keys}' if keys else ''}."


def invited_already(user: str, community: str, groups: Iterable[str]) -> str:
    keys = ", ".join(groups)
    return f"{user} is in {community} already{f'; they are invited to {keys}' if keys else ''}."


def bidden_by(users: Iterable[str], by: str) -> str:
    return f"{', '.join(users)}: invited, as {by} asked."


def membership_changed(user: str, what: str, by: str, reason: str) -> str:
    done = {"remove": "is removed", "ban": "is banned", "unban": "is banned no longer"}.get(what, what)
    return f"{user} {done}, as {by} decided{f': {one_line(reason)}' if reason else ''}."


def ownership_handed_over(giver: str, user: str, by: str) -> str:
    return f"{user} is now owner in the place of {giver}, as {by} decided."


def moderator_added(user: str, group: str, by: str) -> str:
    return f"{user} is now a moderator of {group}, as {by} decided."


def moderator_removed(user: str, group: str, by: str) -> str:
    return f"{user} is no longer a moderator of {group}, as {by} decided."
