"""The connection to a PostgreSQL database: made anew where the server has dropped it."""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Iterator, Sequence
from typing import Any

from likewise.errors import InputError, LikewiseError, missing


class Database:
    """A database, by one connection at a time, that threads may share.

    Raises InputError, in one line, without the extra `postgres`, where there is none, and for what the server refuses;
    LikewiseError where it does not answer any more.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self.locks = 0
        """Locks that this connection holds and that would be lost with it: while there are any, it is not replaced."""
        self._connection = _connect(address)
        self._renewing = threading.Lock()

    @property
    def where(self) -> str:
        """The address without a password."""
        return _plain(self.address)

    def close(self) -> None:
        """Give the connection back."""
        self._connection.close()

    def read(self, query: str, values: Sequence[Any] = ()) -> list[Any]:
        """The rows that a query gives; by a new connection, once, where the server has dropped this one."""
        import psycopg

        connection = self._connection
        try:
            return list(connection.execute(query, values).fetchall())
        except psycopg.Error as error:
            if self.locks or not connection.closed:
                raise self._said(error, lost=connection.closed) from error
        connection = self._renewed(connection)
        try:
            return list(connection.execute(query, values).fetchall())
        except psycopg.Error as error:
            raise self._said(error, lost=connection.closed) from error

    @contextlib.contextmanager
    def changing(self) -> Iterator[Any]:
        """The connection within one transaction, which happens whole or, where it is dropped meanwhile, not at all."""
        import psycopg

        self.read("SELECT 1")  # a connection that was dropped before is replaced
        connection = self._connection
        try:
            with connection.transaction():
                yield connection
        except psycopg.Error as error:
            raise self._said(error, lost=connection.closed) from error

    def _renewed(self, dropped: Any) -> Any:
        """A new connection in the place of one that was dropped, unless another thread has made it."""
        with self._renewing:
            if self._connection is dropped:
                try:
                    self._connection = _connect(self.address)
                except InputError as error:
                    raise LikewiseError(str(error)) from error
            return self._connection

    def _said(self, error: Exception, *, lost: bool) -> LikewiseError:
        words = _line(error)
        if lost:
            return LikewiseError(f"{self.where} has dropped the connection ({words}): give the same command again")
        return InputError(f"{self.where} refuses this: {words}")


def _connect(address: str) -> Any:
    try:
        import psycopg
        from pgvector.psycopg import register_vector
    except ImportError as error:
        raise missing(str(error.name), "postgres", "an index in PostgreSQL") from error
    try:
        connection = psycopg.connect(address, autocommit=True)
        connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
        register_vector(connection)
    except psycopg.Error as error:
        raise InputError(f"{_plain(address)} cannot be used: {_line(error)}") from error
    return connection


def _plain(address: str) -> str:
    return re.sub(r"(//[^/@:]*):[^/@]*@", r"\1@", address)


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:160]
