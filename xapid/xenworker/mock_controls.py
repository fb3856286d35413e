"""Operations that play the world around the mock: its host, its guests, its failures."""

from __future__ import annotations

from .jobs import Kind
from .registry import JSON, Run, operation

_ACTIONS = {"fail": 0, "fail_after": 1, "hang": 2, "abort": 3, "abort_halfway": 4}


@operation(Kind.READ, mock_only=True)
def mock_set(run: Run, **knobs: int) -> None:
    """Turn knobs of the mock host."""
    for knob, value in knobs.items():
        _check(run, f"knob {knob}", run.lib.xapid_mock_set(knob.encode(), value))


@operation(Kind.READ, mock_only=True)
def mock_get(run: Run, knob: str) -> JSON:
    """Read a knob of the mock host."""
    value = run.ffi.new("int64_t *")
    _check(run, f"knob {knob}", run.lib.xapid_mock_get(knob.encode(), value))
    return {"value": value[0]}


@operation(Kind.READ, mock_only=True)
def mock_domain(
    run: Run, order: str, domid: int | None = None, uuid: str | None = None, value: int = 1
) -> None:
    """Make a mock guest do something by itself."""
    target = _target(run, domid, uuid)
    _check(run, f"order {order}", run.lib.xapid_mock_order(target, order.encode(), value))


@operation(Kind.READ, mock_only=True)
def mock_ask(run: Run, fact: str, domid: int | None = None, uuid: str | None = None) -> JSON:
    """Ask for a fact about a mock guest."""
    value = run.ffi.new("int64_t *")
    target = _target(run, domid, uuid)
    _check(run, f"fact {fact}", run.lib.xapid_mock_ask(target, fact.encode(), value))
    return {"value": value[0]}


@operation(Kind.READ, mock_only=True)
def mock_fail(
    run: Run,
    function: str,
    action: str = "fail",
    rc: int = -3,
    count: int = 1,
    domid: int | None = None,
    uuid: str | None = None,
) -> None:
    """Make the next `count` calls of a libxl function fail, hang, or end the process."""
    if action not in _ACTIONS:
        raise run.refusal(f"action must be one of {', '.join(_ACTIONS)}")
    rule = run.lib.xapid_mock_fail(
        function.encode(),
        _ACTIONS[action],
        rc,
        count,
        run.lib.XAPID_INVALID_DOMID if domid is None else domid,
        (uuid or "").encode(),
    )
    _check(run, function, rule)


@operation(Kind.READ, mock_only=True)
def mock_release(run: Run) -> None:
    """End all hangs and drop all rules made by mock_fail."""
    _check(run, "release", run.lib.xapid_mock_release())


@operation(Kind.READ, mock_only=True)
def mock_hanging(run: Run) -> JSON:
    """Count the calls that hang now."""
    return {"value": run.lib.xapid_mock_hanging()}


@operation(Kind.READ, mock_only=True)
def mock_reset(run: Run) -> None:
    """Forget all domains but the control domain, and set all knobs to their defaults."""
    _check(run, "reset", run.lib.xapid_mock_reset())


def _target(run: Run, domid: int | None, uuid: str | None) -> int:
    if domid is not None:
        return domid
    found = run.ffi.new("uint32_t *")
    _check(run, f"uuid {uuid}", run.lib.xapid_mock_find((uuid or "").encode(), found))
    return int(found[0])


def _check(run: Run, what: str, rc: int) -> None:
    run.native.check(rc, f"mock: {what}")
