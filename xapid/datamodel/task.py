"""TODO task."""

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
    """TODO task."""

    uuid = ROrun(String, "TODO uuid.")
    name_label = ROrun(String, "TODO name_label.")
    name_description = ROrun(String, "TODO name_description.")
    allowed_operations = ROrun(
        SetOf(EnumOf(TaskAllowedOperations)), "TODO allowed_operations.", volatile=True
    )
    current_operations = ROrun(
        MapOf(String, EnumOf(TaskAllowedOperations)), "TODO current_operations.", volatile=True
    )
    created = ROrun(DateTime, "TODO created.")
    finished = ROrun(DateTime, "TODO finished.")
    status = ROrun(EnumOf(TaskStatusType), "TODO status.", default=TaskStatusType.PENDING)
    resident_on = ROrun(RefTo("host"), "TODO resident_on.")
    progress = ROrun(Float, "TODO progress.", volatile=True)
    type = ROrun(String, "TODO type.")
    result = ROrun(String, "TODO result.")
    error_info = ROrun(SetOf(String), "TODO error_info.")
    other_config = ROrun(MapOf(String, String), "TODO other_config.")

    @static_message(min_role="read-only")
    @staticmethod
    def create(label: str, description: str) -> Ref[Task]:
        """TODO create.

        label: TODO label.
        description: TODO description.
        """

    @message(min_role="read-only", operation=TaskAllowedOperations.DESTROY)
    def destroy(self) -> None:
        """TODO destroy."""

    @message(
        min_role="read-only",
        this="task",
        operation=TaskAllowedOperations.CANCEL,
        raises=(OperationNotAllowed,),
    )
    def cancel(self) -> None:
        """TODO cancel."""
