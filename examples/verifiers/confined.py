"""Runs Python that a model wrote in a process of its own, with as little as it needs: no network, no files but Python's own and an empty folder,
limited time, memory and output. Linux, standard library only.

What confines it: landlock (files, and TCP from its fourth version on), a network namespace of its own where the system lets one be made, resource limits,
an empty environment. What does not: it shares the machine's kernel and processor. Where that is not enough, run the verifier in a container or on another machine.
"""

import ctypes
import os
import resource
import subprocess
import sys
import tempfile

CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446
EXECUTE, READ_FILE, READ_DIR = 1 << 0, 1 << 2, 1 << 3
READ = EXECUTE | READ_FILE | READ_DIR
PATH_BENEATH, NO_NEW_PRIVS = 1, 38
NEW_USER, NEW_NET = 0x10000000, 0x40000000

libc = ctypes.CDLL(None, use_errno=True)


class Unconfined(Exception):
    """The system confines nothing by landlock."""


class Ruleset(ctypes.Structure):
    _fields_ = [("files", ctypes.c_uint64), ("network", ctypes.c_uint64)]


class Beneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = [("allowed", ctypes.c_uint64), ("parent", ctypes.c_int32)]


def version():
    """Which landlock the kernel has; 0 for none."""
    return max(libc.syscall(CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(1)), 0)


def landlock(readable, writable):
    """Takes all files from this process but those beneath the folders `readable` and `writable`, and TCP where the kernel can."""
    known = version()
    if known == 0:
        raise Unconfined("this kernel has no landlock")
    # Accesses that each version knows: 13 at first, then references, truncation and device commands.
    files = (1 << {1: 13, 2: 14, 3: 15, 4: 15}.get(known, 16)) - 1
    rules = Ruleset(files, 3 if known >= 4 else 0)
    size = ctypes.c_size_t(16 if known >= 4 else 8)
    ruleset = libc.syscall(CREATE_RULESET, ctypes.byref(rules), size, ctypes.c_uint32(0))
    for folders, allowed in ((readable, READ), (writable, files & ~EXECUTE)):
        for folder in folders:
            parent = os.open(folder, os.O_PATH | os.O_CLOEXEC)
            rule = Beneath(allowed & files, parent)
            libc.syscall(ADD_RULE, ruleset, PATH_BENEATH, ctypes.byref(rule), ctypes.c_uint32(0))
            os.close(parent)
    libc.prctl(NO_NEW_PRIVS, 1, 0, 0, 0)
    if libc.syscall(RESTRICT_SELF, ruleset, ctypes.c_uint32(0)) != 0:
        raise Unconfined("landlock refuses: " + os.strerror(ctypes.get_errno()))
    os.close(ruleset)


def confine(folder, seconds, megabytes):
    libc.unshare(NEW_USER | NEW_NET)
    for limit, value in (
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_AS, megabytes << 20),
        (resource.RLIMIT_FSIZE, 1 << 20),
        (resource.RLIMIT_NOFILE, 64),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(limit, (value, value))
    python = {"/usr", "/lib", "/lib64", "/etc/ld.so.cache", sys.prefix, sys.base_prefix}
    landlock([path for path in python if os.path.exists(path)], [folder])


def run(code, seconds=2, megabytes=512, most=1 << 16):
    """What `code` wrote to standard output, and whether it ended well in time."""
    if version() == 0:
        raise Unconfined("this kernel has no landlock")
    # Output goes to a file, whose size is limited as a pipe's is not; its name is unknown to the code, which can only write to it.
    with tempfile.TemporaryDirectory() as folder, tempfile.NamedTemporaryFile() as out:
        with open(out.name, "wb") as sink:
            process = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", code],
                cwd=folder,
                env={},
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
                preexec_fn=lambda: confine(folder, seconds, megabytes),
            )
        try:
            ended = process.wait(timeout=2 * seconds + 1) == 0
        except subprocess.TimeoutExpired:
            ended = False
        # And what it has started and left behind.
        try:
            os.killpg(process.pid, 9)
        except ProcessLookupError:
            pass
        process.wait()
        return out.read(most).decode(errors="replace"), ended
