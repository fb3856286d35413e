"""Tasks: calls that take their time."""

# mypy: disable-error-code="empty-body"

from __future__ import annotations

from .declare import (
    Class,
    DateTime,
    EnumOf,
    Float,
    MapOf,
    Ref,
    RefTo,
    ROrun,
    SetOf,
    String,
    message,
    static_message,
)
from .enums import TaskAllowedOperations, TaskStatusType
from .errors import OperationNotAllowed


class Task(
    Class,
    wire="task",
    derived=("get_all", "get_all_records", "get_by_name_label", "get_by_uuid", "get_record"),
):
    """A call that runs, or that ran, and what came of it."""

    uuid = ROrun(String, "Permanent identity, in the usual form of 36 characters.")
    name_label = ROrun(String, "What the task does, usually the name of the method.")
    name_description = ROrun(String, "More about what the task does.")
    allowed_operations = ROrun(
        SetOf(EnumOf(TaskAllowedOperations)),
        "The operations that may be started now.",
        volatile=True,
    )
    current_operations = ROrun(
        MapOf(String, EnumOf(TaskAllowedOperations)),
        "The operations that run now, by the reference of their task.",
        volatile=True,
    )
    created = ROrun(DateTime, "When the task began.")
    finished = ROrun(DateTime, "When the task ended; the first second of 1970 while it runs.")
    status = ROrun(
        EnumOf(TaskStatusType), "How far the task has come.", default=TaskStatusType.PENDING
    )
    resident_on = ROrun(RefTo("host"), "The host that does the work.")
    progress = ROrun(Float, "The share that is done, from 0.0 to 1.0.", volatile=True)
    type = ROrun(String, "The type of the result, written as in this reference.")
    result = ROrun(String, "The result, written as its XML-RPC value, once the task has succeeded.")
    error_info = ROrun(
        SetOf(String), "The error code and its parameters, once the task has failed."
    )
    other_config = ROrun(MapOf(String, String), "Keys and values for the clients' own use.")

    @static_message(min_role="read-only")
    @staticmethod
    def create(label: str, description: str) -> Ref[Task]:
        """Make a task that the client itself moves along and destroys.

        label: name of the task.
        description: more about the task.
        """

    @message(min_role="read-only", operation=TaskAllowedOperations.DESTROY)
    def destroy(self) -> None:
        """Remove the record of a task that has ended. Tasks that run must be cancelled first."""

    @message(
        min_role="read-only",
        this="task",
        operation=TaskAllowedOperations.CANCEL,
        raises=(OperationNotAllowed,),
    )
    def cancel(self) -> None:
        """Ask a task to stop.

        The call does not wait; the task becomes cancelled when all it did has been undone.
        """
