"""Run configurations through a native module, in a process that libxl may be preloaded upon.

Reads {"module", "minor", "documents": [[type, text], ...]} and writes [[rc, text or null], ...].
"""

import importlib
import json
import sys

request = json.load(sys.stdin)
module = importlib.import_module(request["module"])
ffi, lib = module.ffi, module.lib
if lib.xapid_is_mock():
    lib.xapid_mock_set(b"xen_minor", request["minor"])
context = ffi.new("libxl_ctx **")
rc = lib.xapid_ctx_alloc(context, ffi.NULL)
if rc:
    sys.exit(f"no context: {rc}")
if not lib.xapid_sigchld_is_ours():
    sys.exit("SIGCHLD is not libxl's")


def convert(kind: str, text: str) -> list[object]:
    value = ffi.new(f"libxl_{kind} *")
    getattr(lib, f"libxl_{kind}_init")(value)
    result: list[object] = [
        getattr(lib, f"libxl_{kind}_from_json")(context[0], value, text.encode()),
        None,
    ]
    if not result[0]:
        written = getattr(lib, f"libxl_{kind}_to_json")(context[0], value)
        result[1] = ffi.string(written).decode()
        lib.free(written)
    getattr(lib, f"libxl_{kind}_dispose")(value)
    return result


answers = [convert(kind, text) for kind, text in request["documents"]]
lib.libxl_ctx_free(context[0])
json.dump(answers, sys.stdout)
