"""Connections between the parent and its workers: messages over sockets, on which the parent never waits.

A worker may be stopped or killed at any moment, even in the middle of a message. So the parent reads what has arrived and keeps
incomplete messages until the remaining bytes arrive, and writes only as much as the socket accepts.

On Linux the address is an abstract one: it needs no folder, and ends with the process. Other users can connect to it, as to a
port elsewhere; so each side must send a secret before the other accepts anything. Only then are messages unpickled.
"""

from __future__ import annotations

import hmac
import os
import pickle
import secrets
import socket
import struct
import sys
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

_LENGTH = struct.Struct("!I")
_SECRET = 32
_PID = struct.Struct("!Q")
_CHUNK = 2**18
_NO_SIGNAL = getattr(socket, "MSG_NOSIGNAL", 0)
"""A broken connection is an error, whatever handler the calling program has set for SIGPIPE."""


@dataclass(frozen=True)
class Address:
    """The address of the parent, and the secrets by which parent and workers identify each other."""

    place: str | tuple[str, int]
    of_worker: bytes
    of_parent: bytes

    @property
    def family(self) -> int:
        """The kind of socket."""
        return socket.AF_UNIX if isinstance(self.place, str) else socket.AF_INET


class Entrance:
    """The listening socket, to which workers connect."""

    def __init__(self, n: int) -> None:
        place = f"\0pyptv-{secrets.token_hex(16)}" if sys.platform == "linux" else ("127.0.0.1", 0)
        self._socket = socket.socket(socket.AF_UNIX if isinstance(place, str) else socket.AF_INET)
        self._socket.bind(place)
        self._socket.listen(n)
        self._socket.settimeout(0)
        found = place if isinstance(place, str) else self._socket.getsockname()
        self.address = Address(found, secrets.token_bytes(_SECRET), secrets.token_bytes(_SECRET))

    def fileno(self) -> int:
        """For a selector."""
        return self._socket.fileno()

    def accept(self) -> ParentLine | None:
        """The connection of a new worker; None: there is none."""
        try:
            line, _ = self._socket.accept()
        except OSError:  # the caller has ended
            return None
        line.settimeout(0)
        return ParentLine(line, self.address)

    def close(self) -> None:
        """Accept no further connections."""
        self._socket.close()


class ParentLine:
    """The parent's end of a connection. Nothing here blocks."""

    def __init__(self, line: socket.socket, address: Address) -> None:
        self._socket = line
        self._address = address
        self._inbox = bytearray()
        self._outbox = bytearray()
        self.ended = False
        """The other end is closed: nothing more will arrive."""

    def fileno(self) -> int:
        """For a selector."""
        return self._socket.fileno()

    def greeting(self) -> int | None:
        """The process id that a worker sends first, with its secret; None: not received yet, or wrong."""
        self._read()
        if len(self._inbox) < _SECRET + _PID.size:
            return None
        secret, pid = bytes(self._inbox[:_SECRET]), _PID.unpack_from(self._inbox, _SECRET)[0]
        del self._inbox[: _SECRET + _PID.size]
        if not hmac.compare_digest(secret, self._address.of_worker):
            self.ended = True
            return None
        self._outbox += self._address.of_parent
        return int(pid)

    def receive(self) -> list[Any]:
        """The messages that have arrived since the last call."""
        self._read()
        return [pickle.loads(message) for message in _take_whole(self._inbox)]  # noqa: S301 -- it has shown the secret

    def send(self, message: Any) -> None:
        """Send a message, as much of it as the socket accepts; :meth:`flush` sends the remainder."""
        self._outbox += _packed(message)
        self.flush()

    def flush(self) -> bool:
        """Send the remainder; returns whether some of it is still left. Reading shows whether the other end is closed."""
        with suppress(OSError):
            while self._outbox:
                del self._outbox[: self._socket.send(self._outbox, _NO_SIGNAL)]
        return bool(self._outbox)

    def close(self) -> None:
        """Hang up."""
        self._outbox.clear()
        self._socket.close()

    def _read(self) -> None:
        try:
            data = self._socket.recv(_CHUNK)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        self._inbox += data
        self.ended |= not data


class WorkerLine:
    """The worker's end of a connection. It waits for messages, and for the parent to receive its own."""

    def __init__(self, address: Address) -> None:
        """Connect to the parent.

        Raises:
            OSError: there is no parent, or another process answers.
        """
        self._socket = socket.socket(address.family)
        self._inbox = bytearray()
        self._messages: list[bytes] = []
        try:
            self._socket.connect(address.place)
            self._socket.sendall(address.of_worker + _PID.pack(os.getpid()))
            while len(self._inbox) < _SECRET:
                self._read()
            secret = bytes(self._inbox[:_SECRET])
            del self._inbox[:_SECRET]
            if not hmac.compare_digest(secret, address.of_parent):
                raise ConnectionRefusedError("this is not the parent")
        except BaseException:
            self.close()
            raise

    def send(self, message: Any) -> None:
        """Send a message.

        Raises:
            OSError: the parent has ended, or has given this worker up.
        """
        self._socket.sendall(_packed(message), _NO_SIGNAL)

    def receive(self) -> Any:
        """Wait for the next message.

        Raises:
            OSError: the parent has ended, or has given this worker up.
        """
        self._messages += _take_whole(self._inbox)
        while not self._messages:
            self._read()
            self._messages += _take_whole(self._inbox)
        return pickle.loads(self._messages.pop(0))  # noqa: S301 -- it has shown the secret

    def close(self) -> None:
        """Hang up."""
        self._socket.close()

    def _read(self) -> None:
        data = self._socket.recv(_CHUNK)
        if not data:
            raise ConnectionResetError("the parent has ended")
        self._inbox += data


def _packed(message: Any) -> bytes:
    data = pickle.dumps(message, pickle.HIGHEST_PROTOCOL)
    return _LENGTH.pack(len(data)) + data


def _take_whole(inbox: bytearray) -> list[bytes]:
    """Remove the complete messages from the received bytes, and return them."""
    messages, start = [], 0
    while start + _LENGTH.size <= len(inbox):
        end = start + _LENGTH.size + _LENGTH.unpack_from(inbox, start)[0]
        if end > len(inbox):
            break
        messages.append(bytes(inbox[start + _LENGTH.size : end]))
        start = end
    del inbox[:start]
    return messages
