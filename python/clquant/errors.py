"""Exceptions, one for each status of the library (clquant/base.h)."""

from __future__ import annotations


class Error(Exception):
    """What the library refused or could not do. ``status`` is the number that the command exits with."""

    status = 70


class GateFailed(Error):
    """A check that was asked for did not hold."""

    status = 1


class Diverged(Error):
    """A training's loss or gradient is not finite."""

    status = 3


class UsageError(Error, ValueError):
    """A wrong argument or option."""

    status = 64


class BadData(Error, ValueError):
    """A file's or array's content breaks a rule."""

    status = 65


class NoInput(Error, FileNotFoundError):
    """A file or folder is missing or cannot be read."""

    status = 66


class DeviceError(Error):
    """There is no such device, or OpenCL failed."""

    status = 69


class InternalError(Error):
    """A fault of the library."""

    status = 70


class OutOfMemory(Error, MemoryError):
    """The memory of the host or of the device ran out."""

    status = 71


class CannotCreate(Error, OSError):
    """An output file or folder cannot be created."""

    status = 73


class InputOutputError(Error, OSError):
    """Reading or writing failed part-way."""

    status = 74


class Interrupted(Error):
    """The work was asked to stop, and did."""

    status = 130


BY_STATUS = {
    kind.status: kind
    for kind in (GateFailed, Diverged, UsageError, BadData, NoInput, DeviceError, InternalError, OutOfMemory,
                 CannotCreate, InputOutputError, Interrupted)
}
