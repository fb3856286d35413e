"""A xenstored for hosts without Xen: the same protocol on a socket, the nodes in memory."""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NoReturn

from .xenstore_wire import (
    HEADER,
    MAX_PAYLOAD,
    SEPARATOR,
    Op,
    Permissions,
    XenstoreError,
    XenstoreProtocolError,
    is_path,
    joined,
    parts,
)

_PRIVATE = Permissions(0)
_MOST_WAITING = 4 << 20


@dataclass(frozen=True)
class _Node:
    value: bytes = b""
    permissions: Permissions = _PRIVATE
    children: frozenset[str] = frozenset()


def _refuse(code: str) -> NoReturn:
    raise XenstoreError("", code)


def _parent(path: str) -> tuple[str, str]:
    above, _, name = path.rpartition("/")
    return above or "/", name


class _View:
    """Nodes as one reader sees them; nodes never change, so a copy of the table is a snapshot."""

    def __init__(self, nodes: dict[str, _Node]) -> None:
        self.nodes = nodes
        self.touched: dict[str, _Node | None] = {}
        self.changed: dict[str, None] = {}
        self.fired: dict[str, None] = {}

    def find(self, path: str) -> _Node:
        node = self.nodes.get(path)
        self.touched.setdefault(path, node)
        return node if node is not None else _refuse("ENOENT")

    def write(self, path: str, value: bytes) -> None:
        self._ensure(path)
        self._put(path, replace(self.find(path), value=value))
        self.fired[path] = None

    def mkdir(self, path: str) -> None:
        if self._ensure(path):
            self.fired[path] = None

    def set_permissions(self, path: str, permissions: Permissions) -> None:
        self._put(path, replace(self.find(path), permissions=permissions))
        self.fired[path] = None

    def remove(self, path: str) -> None:
        if path == "/":
            _refuse("EINVAL")
        node = self.find(path)
        above, name = _parent(path)
        parent = self.find(above)
        self._put(above, replace(parent, children=parent.children - {name}))
        self._remove_tree(path, node)
        self.fired[path] = None

    def _remove_tree(self, path: str, node: _Node) -> None:
        for name in node.children:
            below = f"{path}/{name}"
            self._remove_tree(below, self.find(below))
        self.touched.setdefault(path, node)
        self.changed[path] = None
        del self.nodes[path]

    def _ensure(self, path: str) -> bool:
        """Make a node and those above it, with the permissions of the lowest that is there."""
        if path in self.nodes:
            return False
        above, name = _parent(path)
        self._ensure(above)
        parent = self.find(above)
        self.touched.setdefault(path, None)
        self._put(path, _Node(permissions=parent.permissions))
        self._put(above, replace(parent, children=parent.children | {name}))
        return True

    def _put(self, path: str, node: _Node) -> None:
        self.nodes[path] = node
        self.changed[path] = None


@dataclass(eq=False)
class _Client:
    writer: asyncio.StreamWriter
    transactions: dict[int, _View] = field(default_factory=dict)
    watches: dict[tuple[str, str], None] = field(default_factory=dict)


class MockXenstored:
    """Serves any number of clients, each with the rights of the control domain."""

    def __init__(self, socket_path: Path) -> None:
        self.socket_path = socket_path
        self._nodes: dict[str, _Node] = {"/": _Node()}
        self._clients: set[_Client] = set()
        self._serving: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self._next_transaction = 0
        self._operations: dict[int, Callable[[_Client, _View, list[bytes], bytes], bytes]] = {
            Op.DIRECTORY: self._directory,
            Op.READ: lambda _, view, texts, __: view.find(_path(texts)).value,
            Op.GET_PERMS: lambda _, view, texts, __: view.find(_path(texts)).permissions.encode(),
            Op.WRITE: self._write,
            Op.MKDIR: self._mkdir,
            Op.RM: self._rm,
            Op.SET_PERMS: self._set_perms,
            Op.WATCH: self._watch,
            Op.UNWATCH: self._unwatch,
            Op.TRANSACTION_START: self._begin,
        }

    async def start(self) -> None:
        """Listen on the socket; one left behind at that path is replaced."""
        self._server = await asyncio.start_unix_server(self._accept, str(self.socket_path))

    async def close(self) -> None:
        """Cut all clients off and stop; the nodes stay for another `start`."""
        if self._server is not None:
            self._server.close()
        serving = list(self._serving)
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)
        if self._server is not None:
            await self._server.wait_closed()
        self.socket_path.unlink(missing_ok=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None:
            return
        self._serving.add(task)
        client = _Client(writer)
        self._clients.add(client)
        try:
            await self._serve(client, reader)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # cancelled by close: the task has nothing else to end
        finally:
            self._clients.discard(client)
            self._serving.discard(task)
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _serve(self, client: _Client, reader: asyncio.StreamReader) -> None:
        while True:
            header = await reader.readexactly(HEADER.size)
            kind, request, transaction, length = HEADER.unpack(header)
            if length > MAX_PAYLOAD:
                return
            payload = await reader.readexactly(length)
            answer_kind, answer = self._answer(client, kind, transaction, payload)
            _send(client, answer_kind, request, transaction, answer)
            if kind == Op.WATCH and answer_kind != Op.ERROR:
                path, token = (text.decode() for text in parts(payload)[:2])
                _event(client, path, token)
            await client.writer.drain()

    def _answer(
        self, client: _Client, kind: int, transaction: int, payload: bytes
    ) -> tuple[int, bytes]:
        try:
            if kind == Op.TRANSACTION_END:
                return kind, self._end(client, transaction, payload)
            operation = self._operations.get(kind)
            if operation is None:
                _refuse("ENOSYS")
            if transaction and transaction not in client.transactions:
                _refuse("ENOENT")
            view = client.transactions.get(transaction) or _View(self._nodes)
            answer = operation(client, view, payload.split(SEPARATOR), payload)
            if not transaction:
                self._fire(view.fired)
            return kind, answer
        except XenstoreError as error:
            return Op.ERROR, error.name.encode() + SEPARATOR
        except (XenstoreProtocolError, ValueError, IndexError, struct.error):
            return Op.ERROR, b"EINVAL" + SEPARATOR

    def _directory(self, client: _Client, view: _View, texts: list[bytes], payload: bytes) -> bytes:
        children = joined(name.encode() for name in sorted(view.find(_path(texts)).children))
        if len(children) > MAX_PAYLOAD:
            _refuse("E2BIG")
        return children

    def _write(self, client: _Client, view: _View, texts: list[bytes], payload: bytes) -> bytes:
        view.write(_path(texts), payload[len(texts[0]) + 1 :])
        return b"OK\0"

    def _mkdir(self, client: _Client, view: _View, texts: list[bytes], payload: bytes) -> bytes:
        view.mkdir(_path(texts))
        return b"OK\0"

    def _rm(self, client: _Client, view: _View, texts: list[bytes], payload: bytes) -> bytes:
        view.remove(_path(texts))
        return b"OK\0"

    def _set_perms(self, client: _Client, view: _View, texts: list[bytes], payload: bytes) -> bytes:
        view.set_permissions(_path(texts), Permissions.decode(payload[len(texts[0]) + 1 :]))
        return b"OK\0"

    def _watch(self, client: _Client, view: _View, texts: list[bytes], payload: bytes) -> bytes:
        key = (_path(texts), texts[1].decode())
        if key in client.watches:
            _refuse("EEXIST")
        client.watches[key] = None
        return b"OK\0"

    def _unwatch(self, client: _Client, view: _View, texts: list[bytes], payload: bytes) -> bytes:
        key = (_path(texts), texts[1].decode())
        if key not in client.watches:
            _refuse("ENOENT")
        del client.watches[key]
        return b"OK\0"

    def _begin(self, client: _Client, view: _View, texts: list[bytes], payload: bytes) -> bytes:
        self._next_transaction += 1
        client.transactions[self._next_transaction] = _View(dict(self._nodes))
        return str(self._next_transaction).encode() + SEPARATOR

    def _end(self, client: _Client, transaction: int, payload: bytes) -> bytes:
        view = client.transactions.pop(transaction, None)
        if view is None:
            _refuse("ENOENT")
        if payload.startswith(b"T"):
            if any(self._nodes.get(path) is not seen for path, seen in view.touched.items()):
                _refuse("EAGAIN")
            for path in view.changed:
                if path in view.nodes:
                    self._nodes[path] = view.nodes[path]
                else:
                    self._nodes.pop(path, None)
            self._fire(view.fired)
        return b"OK\0"

    def _fire(self, paths: dict[str, None]) -> None:
        for client in self._clients:
            for watched, token in client.watches:
                for path in paths:
                    if path == watched or path.startswith(watched.rstrip("/") + "/"):
                        _event(client, path, token)


def _path(texts: list[bytes]) -> str:
    path = texts[0].decode("ascii")
    return path if is_path(path) else _refuse("EINVAL")


def _event(client: _Client, path: str, token: str) -> None:
    _send(client, Op.WATCH_EVENT, 0, 0, joined([path.encode(), token.encode()]))


def _send(client: _Client, kind: int, request: int, transaction: int, payload: bytes) -> None:
    if client.writer.transport.get_write_buffer_size() > _MOST_WAITING:
        client.writer.transport.abort()
        return
    client.writer.write(HEADER.pack(kind, request, transaction, len(payload)) + payload)
