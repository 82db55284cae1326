"""Batching of waiting requests: one pass of the encoder and of the search costs little more for many than for one."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, NamedTuple, TypeVar

Key = TypeVar("Key", bound=Hashable)
Question = TypeVar("Question")
Answer = TypeVar("Answer")


class _Asked(NamedTuple, Generic[Question, Answer]):
    question: Question
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Answer]


class Together(Generic[Key, Question, Answer]):
    """One thread that answers questions of one key at a time, up to `most` of them, in the order that keys came.

    `answer` gets a key and its questions, and returns as many answers. Where it raises with several questions, each is
    asked by itself, so that one that cannot be answered harms no other.
    """

    def __init__(self, answer: Callable[[Key, Sequence[Question]], Sequence[Answer]], most: int) -> None:
        self._answer, self._most = answer, most
        self._waiting: dict[Key, list[_Asked[Question, Answer]]] = {}
        self._lock = threading.Lock()
        self._busy = False
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="likewise-answer")

    async def ask(self, key: Key, question: Question) -> Answer:
        """The answer to a question. One whose asker has gone before its turn is passed over."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Answer] = loop.create_future()
        with self._lock:
            self._waiting.setdefault(key, []).append(_Asked(question, loop, future))
            if not self._busy:
                self._busy = True
                self._thread.submit(self._work)
        return await future

    def _work(self) -> None:
        """Answer until nobody waits."""
        while True:
            with self._lock:
                if not self._waiting:
                    self._busy = False
                    return
                key = next(iter(self._waiting))
                taken = self._waiting.pop(key)
                if taken[self._most :]:
                    self._waiting[key] = taken[self._most :]  # behind the other keys
            self._settle(key, [one for one in taken[: self._most] if not one.future.done()])

    def _settle(self, key: Key, asked: Sequence[_Asked[Question, Answer]]) -> None:
        """Answer some questions, and wake those who asked once for all: each wake-up costs this thread its turn."""
        if not asked:
            return
        try:
            answers: Sequence[Answer | Exception] = self._answer(key, [one.question for one in asked])
        except Exception as error:  # noqa: BLE001  # whatever it is, it is told to who asked
            if len(asked) > 1:
                for one in asked:
                    self._settle(key, [one])
                return
            answers = [error]
        answered: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[Answer], Answer | Exception]]]
        answered = defaultdict(list)
        for one, answer in zip(asked, answers, strict=True):
            answered[one.loop].append((one.future, answer))
        for loop, some in answered.items():
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(_tell, some)


def _tell(answered: Sequence[tuple[asyncio.Future[Answer], Answer | Exception]]) -> None:
    """Give each who still waits what it asked for."""
    for future, answer in answered:
        if future.done():
            continue
        if isinstance(answer, Exception):
            future.set_exception(answer)
        else:
            future.set_result(answer)
