"""The tool that makes patches: `python -m xapid.services.pool.maker keygen|build|show`."""

from __future__ import annotations

import argparse
import io
import os
import sys
import tarfile
import uuid
from collections.abc import Sequence
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from ...datamodel.enums import AfterApplyGuidance
from .archive import MAX_HEAD, Manifest, NotAPatch, head_length, make, read_head, read_keys

APPLY = "apply"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the tool; the exit code. What is wrong goes to stderr in one line."""
    given = _parser().parse_args(arguments)
    try:
        text: str = given.run(given)
    except (NotAPatch, OSError, ValueError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(text)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="xapid-patch", description="Make patches for xapid.")
    commands = parser.add_subparsers(required=True)
    keygen = commands.add_parser("keygen", help="make a key pair: NAME.key and NAME.pub")
    keygen.add_argument("name", type=Path)
    keygen.set_defaults(run=_keygen)
    build = commands.add_parser("build", help="pack a directory and sign it")
    build.add_argument("directory", type=Path, help="with an executable `apply` in it")
    build.add_argument("--key", type=Path, required=True)
    build.add_argument("--output", type=Path, required=True)
    build.add_argument("--name", required=True)
    build.add_argument("--version", required=True)
    build.add_argument("--description", default="")
    build.add_argument("--uuid", default="", help="a new one unless given")
    build.add_argument("--requires", action="append", default=[], metavar="UUID")
    build.add_argument("--guidance", action="append", default=[], choices=list(AfterApplyGuidance))
    build.add_argument("--time-limit", type=int, default=600, metavar="SECONDS")
    build.add_argument("--server-version", default="", help="of xapid; any unless given")
    build.set_defaults(run=_build)
    show = commands.add_parser("show", help="check a patch and print its manifest")
    show.add_argument("patch", type=Path)
    show.add_argument("--keys", type=Path, required=True, help="directory of *.pub files")
    show.set_defaults(run=_show)
    return parser


def _keygen(given: argparse.Namespace) -> str:
    key = Ed25519PrivateKey.generate()
    secret, public = given.name.with_suffix(".key"), given.name.with_suffix(".pub")
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    descriptor = os.open(secret, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(private)
    public.write_bytes(
        key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    )
    return f"{secret}: keep it secret\n{public}: put it into STATE/patch-keys of each host\n"


def _build(given: argparse.Namespace) -> str:
    key = load_pem_private_key(given.key.read_bytes(), None)
    if not isinstance(key, Ed25519PrivateKey):
        raise ValueError(f"{given.key} is a key of another kind than Ed25519")
    manifest = Manifest(
        uuid=given.uuid or str(uuid.uuid4()),
        name=given.name,
        description=given.description,
        version=given.version,
        size=0,
        sha256="",
        requires=tuple(given.requires),
        guidance=tuple(AfterApplyGuidance(each) for each in given.guidance),
        time_limit_s=given.time_limit,
        server_version=given.server_version,
    )
    patch = make(manifest, pack(given.directory), key)
    given.output.write_bytes(patch)
    return f"{given.output}: {len(patch)} bytes, uuid {manifest.uuid}\n"


def _show(given: argparse.Namespace) -> str:
    with given.patch.open("rb") as file:
        beginning = file.read(MAX_HEAD)
    head = read_head(beginning[: head_length(beginning) or 0], read_keys(given.keys))
    return head.manifest.encode().decode() + "\n"


def pack(directory: Path) -> bytes:
    """The payload: a compressed tar of the plain files beneath `directory`, the same each time.

    Raises NotAPatch where there is no executable `apply`, or something else than plain files.
    """
    script = directory / APPLY
    if not (script.is_file() and os.access(script, os.X_OK)):
        raise NotAPatch(f"{script} is not an executable file")
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:xz") as tar:
        for path in sorted(directory.rglob("*")):
            if path.is_symlink() or not (path.is_file() or path.is_dir()):
                raise NotAPatch(f"{path} is no plain file")
            if path.is_file():
                info = tarfile.TarInfo(str(path.relative_to(directory)))
                info.size = path.stat().st_size
                info.mode = 0o755 if os.access(path, os.X_OK) else 0o644
                with path.open("rb") as file:
                    tar.addfile(info, file)
    return packed.getvalue()


if __name__ == "__main__":
    sys.exit(main())
