"""A claim on a model: it waits for the model, then holds it, until it is released.

Knows nothing of how a model gets loaded; the pool settles each claim once.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable

from api_host.errors import ApiHostError, Cancelled
from api_host.generation import LoadOptions, Waiting
from api_host.models.pool.loaded import LoadedModel


class Lease:
    """What ``ModelPool.acquire`` gives: wait on it, use ``loaded``, and release it whatever happens.

    Args:
        options: what the model must be loaded with.
        describe: says what the claim is waiting for at the moment.
        give_up: takes the claim out of the pool, waiting or holding; called at most once.
    """

    def __init__(
        self, options: LoadOptions, describe: Callable[[], Waiting], give_up: Callable[[Lease], None]
    ) -> None:
        self.options = options
        self.model: LoadedModel | None = None
        self._describe = describe
        self._give_up = give_up
        self._error: ApiHostError | None = None
        self._settled = False
        self._released = False
        # Of a model that is there already nobody waits.
        self._wake: threading.Event | None = None
        self._lock = threading.Lock()

    def wait(self, timeout: float | None) -> bool:
        """Waits until the model is held; False after ``timeout`` seconds without it.

        Raises:
            Cancelled: ``cancel`` was called.
            ApiHostError: the model could not be fetched or loaded, or the host stops.
        """
        if not self._settled and not self._waking().wait(timeout):
            return False
        if self._error is not None:
            # Many waiters share one failure; each raises its own, so that tracebacks don't pile up.
            raise copy.copy(self._error) from self._error
        return True

    def _waking(self) -> threading.Event:
        """Set as soon as the claim is settled."""
        with self._lock:
            if self._wake is None:
                self._wake = threading.Event()
            if self._settled:
                self._wake.set()
            return self._wake

    @property
    def loaded(self) -> LoadedModel:
        """The model that is held."""
        assert self.model is not None, "a lease has a model once wait() has answered True"
        return self.model

    def waiting(self) -> Waiting:
        """What is being waited for, with progress."""
        return self._describe()

    def cancel(self) -> None:
        """Wakes the waiter at once, which gets Cancelled. Safe from any thread; later calls do nothing."""
        if not self._settled:
            self.settle(error=Cancelled("the request was cancelled while it waited for its model"))

    def release(self) -> None:
        """Leaves the queue or lets the model go. Safe from any thread; later calls do nothing."""
        with self._lock:
            if self._released:
                return
            self._released = True
        self._give_up(self)

    @property
    def settled(self) -> bool:
        """Whether nothing can be handed over any more."""
        return self._released or self._settled

    def settle(self, *, model: LoadedModel | None = None, error: ApiHostError | None = None) -> bool:
        """The pool's: hands over the model or the reason why there is none. False if it was settled before."""
        with self._lock:
            if self.settled:
                return False
            self.model, self._error = model, error
            self._settled = True
            if self._wake is not None:
                self._wake.set()
        return True
