"""A process of its own that asks PAM about one password: it may hang or crash and harms nobody.

It reads a JSON object from stdin (service, user, password, rhost, group) and answers with its exit
code. It is run as a file, isolated, so it imports only what is quick to import.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import grp
import json
import os
import pwd
import resource
import sys
from typing import Any

ACCEPTED, REFUSED, NOT_A_MEMBER, UNUSABLE = 0, 10, 11, 12

PAM_SUCCESS, PAM_BUF_ERR, PAM_CONV_ERR = 0, 5, 19
PAM_RHOST, PAM_FAIL_DELAY = 4, 10
PAM_PROMPT_ECHO_OFF, PAM_PROMPT_ECHO_ON = 1, 2
PAM_DISALLOW_NULL_AUTHTOK = 1
MOST_MESSAGES = 32  # PAM_MAX_NUM_MSG
# The service is not there, or a module cannot be loaded or cannot reach what it asks.
_UNUSABLE = {1, 2, 3, 4, 5, 9, 26, 28}


class Message(ctypes.Structure):
    """struct pam_message"""

    _fields_ = [("style", ctypes.c_int), ("text", ctypes.c_char_p)]


class Response(ctypes.Structure):
    """struct pam_response; libpam frees both it and its text."""

    _fields_ = [("text", ctypes.c_void_p), ("code", ctypes.c_int)]


Converse = ctypes.CFUNCTYPE(
    ctypes.c_int,
    ctypes.c_int,
    ctypes.POINTER(ctypes.POINTER(Message)),
    ctypes.POINTER(ctypes.POINTER(Response)),
    ctypes.c_void_p,
)
Delay = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_uint, ctypes.c_void_p)


class Conversation(ctypes.Structure):
    """struct pam_conv"""

    _fields_ = [("converse", Converse), ("data", ctypes.c_void_p)]


def _conversation(libc: Any, user: bytes, password: bytes) -> Any:
    """Answers what modules ask: hidden questions with the password, others with the name."""
    answers = {PAM_PROMPT_ECHO_OFF: password, PAM_PROMPT_ECHO_ON: user}

    def converse(count: int, messages: Any, responses: Any, _: Any) -> int:
        if not 0 < count <= MOST_MESSAGES:
            return PAM_CONV_ERR
        memory = libc.calloc(count, ctypes.sizeof(Response))
        if not memory:
            return PAM_BUF_ERR
        made = ctypes.cast(memory, ctypes.POINTER(Response))
        for place in range(count):
            answer = answers.get(messages[place].contents.style)
            if answer is not None:
                made[place].text = libc.strdup(answer)
        responses[0] = made
        return PAM_SUCCESS

    return Converse(converse)


def ask_pam(service: str, user: str, password: str, rhost: str) -> int:
    """Authenticate and check the account; gives PAM's code. Raises OSError without libpam."""
    libc = ctypes.CDLL(None)
    libc.calloc.restype = libc.strdup.restype = ctypes.c_void_p
    libc.calloc.argtypes = [ctypes.c_size_t, ctypes.c_size_t]
    libc.strdup.argtypes = [ctypes.c_char_p]
    pam = ctypes.CDLL("libpam.so.0")
    pam.pam_set_item.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p]
    for function in (pam.pam_authenticate, pam.pam_acct_mgmt, pam.pam_end):
        function.argtypes = [ctypes.c_void_p, ctypes.c_int]
    raw_user = user.encode()
    converse = _conversation(libc, raw_user, password.encode())
    conversation = Conversation(converse, None)
    handle = ctypes.c_void_p()
    code: int = pam.pam_start(
        service.encode(), raw_user, ctypes.byref(conversation), ctypes.byref(handle)
    )
    if code != PAM_SUCCESS:
        return code
    # xapid makes those who fail wait by itself; a module's pause would only hold a place.
    no_delay = Delay(lambda *_: None)
    pam.pam_set_item(handle, PAM_FAIL_DELAY, ctypes.cast(no_delay, ctypes.c_void_p))
    if rhost:
        raw_rhost = ctypes.create_string_buffer(rhost.encode())
        pam.pam_set_item(handle, PAM_RHOST, ctypes.cast(raw_rhost, ctypes.c_void_p))
    code = pam.pam_authenticate(handle, PAM_DISALLOW_NULL_AUTHTOK)
    if code == PAM_SUCCESS:
        code = pam.pam_acct_mgmt(handle, PAM_DISALLOW_NULL_AUTHTOK)
    pam.pam_end(handle, code)
    return code


def is_member(user: str, group: str) -> bool:
    """Whether a user is root or belongs to the group. Raises KeyError for an unknown user."""
    account = pwd.getpwnam(user)
    if account.pw_uid == 0:
        return True
    try:
        wanted = grp.getgrnam(group).gr_gid
    except KeyError:
        return False
    return wanted in os.getgrouplist(user, account.pw_gid)


def answer(request: dict[str, str]) -> int:
    """The exit code for a request. Membership is looked at last, so that it cannot be guessed."""
    try:
        code = ask_pam(request["service"], request["user"], request["password"], request["rhost"])
    except OSError:
        return UNUSABLE
    if code in _UNUSABLE:
        return UNUSABLE
    if code != PAM_SUCCESS:
        return REFUSED
    try:
        return ACCEPTED if is_member(request["user"], request["group"]) else NOT_A_MEMBER
    except KeyError:
        return REFUSED


if __name__ == "__main__":
    # A password may stand in this process's memory.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    sys.exit(answer(json.load(sys.stdin)))
