"""Progress of the calling thread's work, Ctrl-C, and what callbacks raise."""

from __future__ import annotations

import sys
import threading
from typing import Any, Callable, Optional, Union

from ._native import NULL, check, ffi, lib, text

#: ``progress(label, done, total, unit, text)``: ``total`` 0 is not known, ``text`` like "loss 0.25".
ProgressFunction = Callable[[str, int, int, str, str], Any]
Progress = Union[None, bool, ProgressFunction]

_INTERRUPTED = 130
_state = threading.local()


class _Line:
    """One line that changes: on stderr, or in a notebook's cell, where nothing is left of it."""

    def __init__(self) -> None:
        self.handle = None

    def write(self, line: str) -> None:
        if not _in_notebook():
            if sys.stderr is not None:
                sys.stderr.write("\r\033[K" + line[:100])
                sys.stderr.flush()
            return
        from IPython.display import display

        if self.handle is None:
            self.handle = display({"text/plain": line}, raw=True, display_id=True)
        else:
            self.handle.update({"text/plain": line}, raw=True)


class _Bars:
    """tqdm's bars where it is installed (in notebooks its widgets), else a line."""

    def __init__(self) -> None:
        self.bars: dict = {}
        self.line = _Line()
        try:
            from tqdm.auto import tqdm
        except ImportError:
            tqdm = None
        self.tqdm = tqdm

    def show(self, label: str, done: int, total: int, unit: str, words: str, ended: bool) -> None:
        if self.tqdm is None:
            self.line.write("" if ended else f"{label} {done}{f'/{total}' if total else ''} {unit}  {words}")
            return
        bar = self.bars.get(label)
        if bar is None and ended:
            return
        if bar is None:
            bar = self.bars[label] = self.tqdm(total=total or None, desc=label, unit=" " + unit, leave=False)
        bar.update(done - bar.n)
        if words:
            bar.set_postfix_str(words, refresh=False)
        if ended:
            self.bars.pop(label).close()

    def close(self) -> None:
        for bar in self.bars.values():
            bar.close()


def _in_notebook() -> bool:
    """Whether an IPython kernel runs this, not its terminal."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    return hasattr(shell, "kernel")


class running:
    """Around one call of the library: shows progress, and raises what a callback did in it.

    Exceptions cannot pass through C: a callback's is kept here, the work is told to stop, and :meth:`check` raises
    it. The same holds for Ctrl-C, which Python notices in the calls of the progress sink.
    """

    def __init__(self, progress: Progress) -> None:
        self.error: Optional[BaseException] = None
        self.show: Optional[Callable] = None
        self.bars: Optional[_Bars] = None
        if callable(progress):
            self.show = lambda *state: progress(*state[:-1])
        elif progress or (progress is None and (_in_notebook() or (sys.stderr is not None and sys.stderr.isatty()))):
            self.bars = _Bars()
            self.show = self.bars.show

    def __enter__(self) -> "running":
        self.outer = getattr(_state, "running", None)
        _state.running = self
        lib.clq_set_progress(_sink, NULL)
        return self

    def __exit__(self, *_) -> None:
        _state.running = self.outer
        lib.clq_set_progress(_sink if self.outer else NULL, NULL)
        if self.bars:
            self.bars.close()

    def keep(self, error: BaseException) -> int:
        self.error = self.error or error
        return _INTERRUPTED

    def check(self, status: int) -> None:
        if self.error is not None:
            raise self.error
        check(status)


def _failed(_kind, error, _traceback) -> bool:
    """What is raised outside the function's own ``try``, such as Ctrl-C at its first instruction."""
    work = getattr(_state, "running", None)
    if work is not None:
        work.keep(error)
    return False


@ffi.callback("clq_progress_sink", error=False, onerror=_failed)
def _sink(_context, state):
    # It may be called by a thread that works for the one that runs; only that one shows and is interrupted.
    work = getattr(_state, "running", None)
    if work is None:
        return True
    try:
        if work.show:
            work.show(text(state.label), state.done, state.total, text(state.unit), text(state.text), state.ended)
        return work.error is None
    except BaseException as error:
        work.keep(error)
        return False
