"""Runs Python that a model wrote in a process of its own, with as little as it needs: no network, no files but Python's own and an empty folder,
limited time, memory and output. Linux, standard library only.

What confines it: landlock (files, and TCP from its fourth version on), a filter of system calls (no other process is started, signalled or looked into, no
socket is made), a network namespace of its own where the system lets one be made, resource limits, an empty environment. What does not: it shares the
machine's kernel and processor, and many small files may fill the disk of the folder while it runs. Where that is not enough, run the verifier in a container
or on another machine.
"""

import ctypes
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile

CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446
EXECUTE, READ_FILE, READ_DIR = 1 << 0, 1 << 2, 1 << 3
READ = EXECUTE | READ_FILE | READ_DIR
PATH_BENEATH, SECCOMP, NO_NEW_PRIVS = 1, 22, 38
NEW_USER, NEW_NET = 0x10000000, 0x40000000

# How the system calls them, by machine: the number of its kind in the kernel, `clone`, and those that are refused.
# clone3 hides what it is to make; io_uring does what it is asked past any filter.
CALLS = {
    "x86_64": (0xC000003E, 56, {
        "socket": 41, "socketpair": 53, "fork": 57, "vfork": 58, "kill": 62, "ptrace": 101, "setpgid": 109, "setsid": 112, "rt_sigqueueinfo": 129,
        "tkill": 200, "tgkill": 234, "rt_tgsigqueueinfo": 297, "process_vm_readv": 310, "process_vm_writev": 311,
    }),
    "aarch64": (0xC00000B7, 220, {
        "ptrace": 117, "kill": 129, "tkill": 130, "tgkill": 131, "rt_sigqueueinfo": 138, "setpgid": 154, "setsid": 157, "socket": 198,
        "socketpair": 199, "rt_tgsigqueueinfo": 240, "process_vm_readv": 270, "process_vm_writev": 271,
    }),
}
EVERYWHERE = {"pidfd_send_signal": 424, "io_uring_setup": 425, "pidfd_open": 434, "pidfd_getfd": 438}
CLONE3, CLONE_THREAD, X32 = 435, 0x10000, 0x40000000
ALLOW, REFUSE, ABSENT, KILL = 0x7FFF0000, 0x00050001, 0x00050026, 0x80000000

libc = ctypes.CDLL(None, use_errno=True)


class Unconfined(Exception):
    """The system confines nothing by landlock."""


class Ruleset(ctypes.Structure):
    _fields_ = [("files", ctypes.c_uint64), ("network", ctypes.c_uint64), ("scoped", ctypes.c_uint64)]


class Instruction(ctypes.Structure):
    _fields_ = [("code", ctypes.c_uint16), ("then", ctypes.c_uint8), ("otherwise", ctypes.c_uint8), ("value", ctypes.c_uint32)]


class Filter(ctypes.Structure):
    _fields_ = [("length", ctypes.c_uint16), ("instructions", ctypes.POINTER(Instruction))]


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
    # From its sixth version on: abstract sockets and signals stay inside.
    rules = Ruleset(files, 3 if known >= 4 else 0, 3 if known >= 6 else 0)
    size = ctypes.c_size_t(24 if known >= 6 else 16 if known >= 4 else 8)
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


def instructions(kind, clone, refused):
    """The filter in the kernel's own language: what is loaded, compared with, and where it goes on from there."""
    load, equal, least, any_of, end = 0x20, 0x15, 0x35, 0x45, 0x06
    said = [(load, 0, 0, 4), (equal, 1, 0, kind), (end, 0, 0, KILL), (load, 0, 0, 0)]
    said += [(least, 0, 1, X32), (end, 0, 0, KILL), (equal, 0, 1, CLONE3), (end, 0, 0, ABSENT)]
    for number in sorted(refused):
        said += [(equal, 0, 1, number), (end, 0, 0, REFUSE)]
    # A thread is no process of its own.
    said += [(equal, 0, 3, clone), (load, 0, 0, 16), (any_of, 1, 0, CLONE_THREAD), (end, 0, 0, REFUSE)]
    return [Instruction(*one) for one in [*said, (end, 0, 0, ALLOW)]]


def refuse_calls():
    """Takes from this process the calls that start, signal or look into others and make sockets. On machines that are not known here the user's limit of
    processes has to do, which root does not have."""
    if platform.machine() not in CALLS:
        return resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
    kind, clone, refused = CALLS[platform.machine()]
    said = instructions(kind, clone, {*refused.values(), *EVERYWHERE.values()})
    program = Filter(len(said), (Instruction * len(said))(*said))
    if libc.prctl(SECCOMP, 2, ctypes.byref(program), 0, 0) != 0:
        raise Unconfined("calls cannot be filtered: " + os.strerror(ctypes.get_errno()))


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
    refuse_calls()


def run(code, seconds=2, megabytes=512, most=1 << 16):
    """What `code` wrote to standard output, and whether it ended well in time."""
    if version() == 0:
        raise Unconfined("this kernel has no landlock")
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile() as out:
        process = subprocess.Popen(
            # Read from its input, since an argument has a longest length.
            [sys.executable, "-I", "-S", "-"],
            cwd=folder,
            env={},
            stdin=subprocess.PIPE,
            # A file, which is limited in size as all are; a pipe would be as long as whoever writes it wants, and as long open.
            stdout=out,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=lambda: confine(folder, seconds, megabytes),
        )
        try:
            process.communicate(code.encode(errors="replace"), timeout=2 * seconds + 1)
            ended = process.returncode == 0
        except subprocess.TimeoutExpired:
            ended = False
        finally:
            # Its number is its own until it has been waited for.
            if process.poll() is None:
                os.killpg(process.pid, 9)
                process.wait()
        out.seek(0)
        return out.read(most).decode(errors="replace"), ended


def signed(out, word):
    """The object or list in the last line of `out` that begins with `word`; None where there is none, or what stands there is cut off or something else."""
    lines = [line[len(word):] for line in out.splitlines() if line.startswith(word)]
    try:
        said = json.loads(lines[-1]) if lines else None
    except (ValueError, RecursionError):
        return None
    return said if isinstance(said, (dict, list)) else None
