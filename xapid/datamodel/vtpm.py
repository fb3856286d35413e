"""TODO VTPM."""

# mypy: disable-error-code="empty-body"

from __future__ import annotations

from .declare import Class, Record, Ref, RefTo, ROins, ROrun, String, message, static_message


class VTPM(Class, derived=("get_by_uuid", "get_record"), min_role="vm-admin"):
    """TODO VTPM."""

    uuid = ROrun(String, "TODO uuid.")
    VM = ROins(RefTo("VM"), "TODO VM.", required=True, inverse="VTPMs")
    backend = ROins(RefTo("VM"), "TODO backend.")

    @static_message(min_role="vm-admin")
    @staticmethod
    def create(args: Record[VTPM]) -> Ref[VTPM]:
        """TODO create.

        args: TODO args.
        """

    @message(min_role="vm-admin")
    def destroy(self) -> None:
        """TODO destroy."""
