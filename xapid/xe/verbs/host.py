"""The host, the pool, patches and passwords, under the names of old."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Final
from urllib.parse import urlencode

from ..catalogue import STRING
from ..command import Call, Command, optional, required
from ..credentials import prompted
from ..failures import Refused, UsageError
from ..output import shown
from ..transport import upload

FILE_NAME: Final = required("file-name", STRING, "the file, on this machine", "filename")
UPLOAD: Final = "/pool_patch_upload"


def _upload_patch(call: Call, _: str) -> None:
    source = Path(call.get("file-name"))
    path = f"{UPLOAD}?{urlencode({'session_id': call.server.session})}"
    try:
        status, answer = upload(call.server.connect(), path, source)
    except OSError as error:
        raise UsageError(f"{source}: {error.strerror or error}") from error
    if status != 200:
        raise Refused(f"the server does not take {source.name} (HTTP {status}): {shown(answer)}")
    call.made("pool_patch", answer)


def _apply_license(call: Call, host: str) -> None:
    source = Path(call.get("license-file"))
    try:
        contents = base64.b64encode(source.read_bytes()).decode()
    except OSError as error:
        raise UsageError(f"{source}: {error.strerror or error}") from error
    call.perform(call.label("host", host), "host.license_apply", host, contents)


def _rename_host(call: Call, host: str) -> None:
    call.perform(call.label("host", host), "host.set_hostname_live", host, call.get("host-name"))


def _change_password(call: Call, _: str) -> None:
    old = _secret(call, "old", "Your password as it is: ")
    new = _secret(call, "new", "Your new password: ")
    if not call.has("new") and prompted("Your new password once more: ") != new:
        raise Refused("the two are not the same, and nothing was changed")
    call.server("session.change_password", old, new)


def _secret(call: Call, name: str, question: str) -> str:
    return str(call.get(name)) if call.has(name) else prompted(question)


COMMANDS = (
    Command(
        "patch-upload", "patch", "Send a patch to the server, and print its uuid.",
        _upload_patch, (FILE_NAME,),
    ),
    Command(
        "host-license-add", "host", "Apply a licence to a host.", _apply_license,
        (required("license-file", STRING, "the file, on this machine"),), "host",
    ),
    Command(
        "host-set-hostname-live", "host", "Change the host name at once.", _rename_host,
        (required("host-name", STRING, "the new name", "hostname"),), "host", alone=True,
    ),
    Command(
        "user-password-change", "user", "Change your own password.", _change_password,
        (
            optional("new", STRING, "the new password", "new-pwd", secret=True),
            optional("old", STRING, "the password as it is", "old-pwd", secret=True),
        ),
    ),
)  # fmt: skip
