"""A signed patch on a real host: made with our tool, uploaded over HTTPS, checked and applied."""

from __future__ import annotations

import http.client
import io
import ssl
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from testhost.api import ApiError
from testhost.daemon import STATE
from testhost.machine import Machine
from testhost.table import Table
from testhost.workbench import Workbench

pytestmark = pytest.mark.xen

MARK = "/etc/patched-by-a-test"
PRECHECK = "#!/bin/sh\necho the check ran\ntest ! -e /run/refuse-patch\n"
APPLY = f"""#!/bin/sh
echo "applied $PATCH_VERSION on $(uname -s)"
cp content {MARK}
env | cut -d= -f1 | sort >{MARK}.environment
"""


@pytest.fixture(scope="module")
def source(xenhost: Machine, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the patches consist of."""
    xenhost.run(f"rm -f {MARK}* /run/refuse-patch")
    source = tmp_path_factory.mktemp("patch") / "source"
    source.mkdir()
    for name, text in {"precheck": PRECHECK, "apply": APPLY, "content": "new\n"}.items():
        (source / name).write_text(text)
        (source / name).chmod(0o644 if name == "content" else 0o755)
    return source


@pytest.fixture(scope="module")
def patch(xenhost: Machine, source: Path) -> Iterator[bytes]:
    """A patch signed by a key that the host trusts."""
    patch = make(source, "trusted")
    public = (source.parent / "trusted.pub").read_text()
    xenhost.write(f"{STATE}/patch-keys/trusted.pub", public)
    yield patch
    xenhost.run(f"rm -f {STATE}/patch-keys/trusted.pub {MARK}*")


def make(source: Path, key: str) -> bytes:
    """A patch signed with a new key of this name, made as an administrator does."""
    place = source.parent
    tool = [sys.executable, "-m", "xapid.services.pool.maker"]
    subprocess.run([*tool, "keygen", str(place / key)], check=True, capture_output=True)
    options = ["--name", "A fix", "--version", "1.2", "--guidance", "restartXAPI"]
    files = ["--key", str(place / f"{key}.key"), "--output", str(place / f"{key}.patch")]
    build = [*tool, "build", str(source), *files, *options]
    subprocess.run(build, check=True, capture_output=True)
    return (place / f"{key}.patch").read_bytes()


def upload(workbench: Workbench, content: bytes) -> tuple[int, str]:
    """PUT a patch from outside; the HTTP status and the body."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    port = workbench.machine.https_port
    connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=60, context=context)
    try:
        path = f"/pool_patch_upload?session_id={workbench.api.session}"
        connection.request("PUT", path, content)
        answer = connection.getresponse()
        return answer.status, answer.read().decode().strip()
    finally:
        connection.close()


def test_only_what_a_trusted_key_signed_is_taken(
    xenhost: Machine, workbench: Workbench, source: Path, patch: bytes
) -> None:
    stranger = make(source, "stranger")
    unsigned = io.BytesIO()
    with tarfile.open(fileobj=unsigned, mode="w"):
        pass
    changed = patch[:-1] + bytes([patch[-1] ^ 1])

    for refused in (stranger, unsigned.getvalue(), changed, patch[:-8]):
        assert len(refused) > 100
        status, body = upload(workbench, refused)
        assert status >= 400
        assert body.splitlines()[0] == "INVALID_PATCH"

    assert workbench.api.call("pool_patch.get_all") == []
    assert xenhost.run(f"find {STATE}/patches -type f") == ""


def test_patch_is_uploaded_checked_applied_and_changes_the_host(
    xenhost: Machine, workbench: Workbench, patch: bytes, table: Table
) -> None:
    call, host = workbench.api.call, workbench.host

    with table.step("host", "upload of a patch"):
        status, ref = upload(workbench, patch)

    assert status == 200
    assert call("pool_patch.get_all") == [ref]
    assert call("pool_patch.get_size", ref) == str(len(patch))
    assert call("pool_patch.get_after_apply_guidance", ref) == ["restartXAPI"]
    with table.step("host", "precheck of a patch"):
        assert call("pool_patch.precheck", ref, host) == "the check ran\n"
    xenhost.run("touch /run/refuse-patch")
    with pytest.raises(ApiError) as refused:
        call("pool_patch.apply", ref, host)
    assert refused.value.code == "PATCH_PRECHECK_FAILED_UNKNOWN_ERROR"
    assert "the check ran" in refused.value.details[-1]
    assert xenhost.run(f"ls {MARK} 2>/dev/null; true") == ""
    xenhost.run("rm /run/refuse-patch")

    with table.step("host", "apply of a patch"):
        output = call("pool_patch.apply", ref, host)

    assert output == "applied 1.2 on Linux\n"
    assert xenhost.run(f"cat {MARK}") == "new\n"
    environment = set(xenhost.run(f"cat {MARK}.environment").split())
    allowed = {"PATH", "HOME", "LC_ALL", "PATCH_UUID", "PATCH_VERSION", "XAPID_VERSION", "PWD"}
    assert environment - {"OLDPWD", "SHLVL", "_"} <= allowed
    uuid = call("pool_patch.get_uuid", ref)
    assert xenhost.run(f"cat {STATE}/patches/{uuid}/apply.log") == output
    assert xenhost.run(f"find {STATE} -path '*{uuid}-*'") == ""
    (of_host,) = call("host.get_patches", host)
    assert call("host_patch.get_applied", of_host) is True
    assert call("pool_patch.get_pool_applied", ref) is True
    for message, code in (("apply", "PATCH_ALREADY_APPLIED"), ("destroy", "PATCH_IS_APPLIED")):
        with pytest.raises(ApiError) as refused:
            call(f"pool_patch.{message}", ref, *([host] if message == "apply" else []))
        assert refused.value.code == code
    call("pool_patch.clean", ref)
    assert xenhost.run(f"ls {STATE}/patches/{uuid}").split() == ["apply.log", "precheck.log"]
