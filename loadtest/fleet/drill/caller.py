"""A caller that appends to one session after the other, and knows what the service should say."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass, field

import numpy as np
import orjson

from loadtest.fleet.drill.record import AppendTiming, DrillRecord, FailedRequest, SessionFault
from loadtest.fleet.drill.transcript import Answer, Transcript
from loadtest.generator.http_client import ClientError, HttpClient, HttpResponse
from loadtest.streams import Streams

REPLICA_HEADER = "x-nextvec-replica"
_HEADERS = {"Content-Type": "application/octet-stream", "Accept": "application/json"}
_FIRST_PAUSE = 0.02
_LONGEST_PAUSE = 0.5
_TOTAL = re.compile(r"\btotal;dur=([0-9.]+)")


@dataclass
class DrillCaller:
    """Appends one vector every `gap` seconds, to sessions of `length` vectors each.

    It retries what fails, with the same position, until it succeeds: that is what `position` is
    for. `run` makes its session ids different from those of other runs.
    """

    client: HttpClient
    streams: Streams
    number: int
    run: str
    length: int
    gap: float
    record: DrillRecord
    stopping: asyncio.Event
    _begun: int = 0
    _replica: str = ""
    _transcript: Transcript = field(init=False)
    _position: int = 0

    async def call(self) -> None:
        """Run sessions until `stopping`, and then compare the length of the last one."""
        # Callers begin one after the other, so that their sessions do not all end together.
        await asyncio.sleep(self.gap * (self.number % 16) / 16)
        while not self.stopping.is_set():
            name = f"{self.run}-{self.number}-{self._begun}"
            start = self._begun * self.length
            self._transcript = Transcript(name, self.number, start)
            self.record.transcripts.append(self._transcript)
            self._begun, self._position, self._replica = self._begun + 1, 0, ""
            while self._position < self.length and not self.stopping.is_set():
                began = self.record.now()
                await self._append()
                await asyncio.sleep(max(0.0, self.gap - (self.record.now() - began)))
            await self._compare_length()

    async def _append(self) -> None:
        """Append the next vector, however often it must be sent."""
        began, pause = self.record.now(), _FIRST_PAUSE
        unsure = False  # whether an earlier try may have been carried out
        while True:
            position = self._position
            rows = self.streams.read(self.number, self._transcript.start + position, 1)
            path = f"/v1/sessions/{self._transcript.session}/vectors?position={position}"
            response = await self._request("POST", path, rows.data.cast("B"))
            if response is not None and response.status == 200:
                self._succeed(response, began)
                return
            if response is not None and response.status in {404, 409, 410}:
                self._lose(response, unsure=unsure)
                unsure = False
                continue
            unsure = True
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    def _succeed(self, response: HttpResponse, began: float) -> None:
        record, transcript = self.record, self._transcript
        document = response.json()
        assert isinstance(document, dict), "a prediction is an object"
        now, length = record.now(), int(document["length"])
        before, self._position = self._position, self._position + 1
        if length != self._position:
            text = f"length {length} after an append at position {before}"
            fault = SessionFault(now, transcript.session, abs(length - self._position), text)
            (record.doubled if length > self._position else record.lost_silently).append(fault)
            self._position = length
        vector = np.array(document["next_vector"], np.float32)
        transcript.answers.append(Answer(before + 1, str(document["version"]), vector, now))
        replica = response.headers.get(REPLICA_HEADER, "")
        moved = bool(self._replica) and replica != self._replica
        self._replica = replica
        timing = _TOTAL.search(response.headers.get("server-timing", ""))
        service = float(timing[1]) / 1000 if timing else 0.0
        record.appends.append(AppendTiming(now, now - began, service, moved))

    def _lose(self, response: HttpResponse, *, unsure: bool) -> None:
        """The service has another length than the caller: note what that means, and go on there."""
        record, name, position = self.record, self._transcript.session, self._position
        there = _position_of(response) if response.status == 409 else 0
        now, status = record.now(), response.status
        if there < position:
            text = f"status {status} at position {position}: {there} left"
            record.lost.append(SessionFault(now, name, position - there, text))
        elif there == position + 1:
            # Stored already, by a try of ours or of the load balancer's, or stored twice.
            sent = "again" if unsure else "once by its caller"
            text = f"conflict at position {position}, which was sent {sent}"
            record.not_repeated.append(SessionFault(now, name, 1, text))
        elif there > position:
            text = f"the service has {there} vectors of {position}"
            record.doubled.append(SessionFault(now, name, there - position, text))
        else:
            self._fail(status, f"{status} at the true position")
        self._position = there

    async def _compare_length(self) -> None:
        """The service must still have all that it acknowledged."""
        name = self._transcript.session
        if not self._position:
            return
        response = None
        while response is None or response.status not in {200, 404, 410}:
            response = await self._request("GET", f"/v1/sessions/{name}")
            if response is None or response.status != 200:
                await asyncio.sleep(_LONGEST_PAUSE / 5)
        found = response.json() if response.status == 200 else {}
        length = int(found.get("length", 0)) if isinstance(found, dict) else 0
        missing = self._position - length
        if missing:
            text = f"status {response.status}: {length} vectors at the end of {self._position}"
            fault = SessionFault(self.record.now(), name, abs(missing), text)
            (self.record.lost_silently if missing > 0 else self.record.doubled).append(fault)

    async def _request(
        self, method: str, path: str, body: bytes | memoryview = b""
    ) -> HttpResponse | None:
        """The answer, or None; failures are noted."""
        try:
            response = await self.client.request(method, path, _HEADERS, body)
        except ClientError as error:
            self._fail(0, str(error)[:200])
            return None
        if response.status not in {200, 404, 409, 410}:
            self._fail(response.status, response.body[:200].decode(errors="replace"))
        return response

    def _fail(self, status: int, text: str) -> None:
        begun = self._position > 0
        self.record.failures.append(FailedRequest(self.record.now(), status, text, begun))


def _position_of(conflict: HttpResponse) -> int:
    """The true position in a 409. Raises `ClientError`."""
    try:
        return int(orjson.loads(conflict.body)["position"])
    except (ValueError, KeyError, TypeError) as error:
        raise ClientError(f"status 409 without a position: {conflict.body[:200]!r}") from error
