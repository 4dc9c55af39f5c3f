"""The lines between the parent and its workers: nobody waits for half a message, and only those who know each other talk."""

from __future__ import annotations

import os
import selectors
import socket
import threading
from contextlib import closing, contextmanager

import pytest

from pyptv.core.execute.line import Entrance, WorkerLine


@pytest.fixture
def entrance():
    with closing(Entrance(4)) as place:
        yield place


@contextmanager
def come_in(entrance: Entrance):
    """A worker's line and the parent's end of it."""
    found: list[WorkerLine] = []
    thread = threading.Thread(target=lambda: found.append(WorkerLine(entrance.address)))
    thread.start()
    line = None
    while line is None:
        line = entrance.accept()
    while (pid := line.greeting()) is None:
        assert not line.ended
    line.send("welcome")
    thread.join()
    assert pid == os.getpid()
    assert found[0].receive() == "welcome"
    with closing(found[0]), closing(line):
        yield found[0], line


def receive(line):
    """What comes within a few seconds."""
    with selectors.DefaultSelector() as selector:
        selector.register(line, selectors.EVENT_READ)
        assert selector.select(5)
    return line.receive()


def test_messages_go_both_ways_in_order(entrance):
    with come_in(entrance) as (worker, parent):
        worker.send([1, "two"])
        worker.send({"three": 3})
        got = receive(parent)
        while len(got) < 2:
            got += receive(parent)
        assert got == [[1, "two"], {"three": 3}]
        parent.send("a")
        parent.send("b")
        assert [worker.receive(), worker.receive()] == ["a", "b"]
        parent.close()
        with pytest.raises(OSError, match="the parent has ended"):
            worker.receive()


def test_the_parent_does_not_wait_for_the_rest_of_a_message(entrance):
    with come_in(entrance) as (worker, parent):
        assert parent.receive() == []
        worker._socket.sendall(b"\0\0\0\5half")
        assert receive(parent) == []
        worker.close()
        assert receive(parent) == []
        assert parent.ended


def test_the_parent_does_not_wait_for_room(entrance):
    large = os.urandom(2**22)
    with come_in(entrance) as (worker, parent):
        parent.send(large)  # more than a line holds: what is left goes as the worker takes it
        taken: list[bytes] = []
        reader = threading.Thread(target=lambda: taken.append(worker.receive()))
        reader.start()
        while reader.is_alive():
            parent.flush()
        assert taken == [large]


def test_a_stranger_is_not_listened_to(entrance):
    with socket.socket(entrance.address.family) as stranger:
        stranger.connect(entrance.address.place)
        line = None
        while line is None:
            line = entrance.accept()
        with closing(line):
            assert line.greeting() is None
            stranger.sendall(bytes(32) + bytes(8))
            while not line.ended:
                assert line.greeting() is None


def test_a_worker_does_not_listen_to_a_stranger():
    real = Entrance(1)
    address = real.address
    real.close()  # its address is free: somebody else takes it
    with socket.socket(address.family) as pretender:
        pretender.bind(address.place)
        pretender.listen(1)

        def answer() -> None:
            with pretender.accept()[0] as line:
                line.recv(100)
                line.sendall(bytes(40))

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(ConnectionError, match="this is not the parent"):
            WorkerLine(address)
        thread.join()
