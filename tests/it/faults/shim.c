/* Preloaded into a run: counts the calls that change files under a folder, and at one of them fails, or ends the process.
 *
 * FAULT_UNDER  the folder, absolute
 * FAULT_LOG    where each call is noted as "n call path", if anywhere
 * FAULT_AT     the call, counted from 1; 0 for none
 * FAULT_BEHIND "call path" behind which they are counted for that, where what comes before depends on the time
 * FAULT_HOW    kill: SIGKILL (in the middle of a write); full: no space from there on; eio: that call alone
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum how { NONE, KILL, FULL, EIO_ONCE };
static char under[PATH_MAX], behind[PATH_MAX + 16];
static long at, calls, since;
static int note = -1;
static enum how how;

__attribute__((constructor)) static void begin(void) {
    const char *folder = getenv("FAULT_UNDER"), *log = getenv("FAULT_LOG"), *number = getenv("FAULT_AT"), *kind = getenv("FAULT_HOW");
    if (!folder) return;
    snprintf(under, sizeof under, "%s", folder);
    at = number ? atol(number) : 0;
    if (getenv("FAULT_BEHIND")) snprintf(behind, sizeof behind, "%s", getenv("FAULT_BEHIND")), since = -1;
    if (kind) how = !strcmp(kind, "kill") ? KILL : !strcmp(kind, "full") ? FULL : !strcmp(kind, "eio") ? EIO_ONCE : NONE;
    if (log) note = syscall(SYS_openat, AT_FDCWD, log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    /* Programs that the run starts are no part of it. */
    unsetenv("LD_PRELOAD");
}

static int is_under(const char *path) {
    size_t n = strlen(under);
    return n && !strncmp(path, under, n) && (path[n] == '/' || !path[n]);
}

/* The absolute path of a name beside `folder`; dots are left as they are. */
static void absolute(int folder, const char *name, char *path) {
    char link[64], base[PATH_MAX] = "";
    if (name[0] == '/') {
        snprintf(path, PATH_MAX, "%s", name);
        return;
    }
    if (folder == AT_FDCWD) {
        if (!getcwd(base, sizeof base)) base[0] = 0;
    } else {
        snprintf(link, sizeof link, "/proc/self/fd/%d", folder);
        ssize_t n = readlink(link, base, sizeof base - 1);
        base[n > 0 ? n : 0] = 0;
    }
    if (snprintf(path, PATH_MAX, "%s/%s", base, name) < 0) path[0] = 0;
}

/* The error that this call is to have, or 0. `writes` says that it takes space. `half` is called before a kill. */
static int fault(const char *call, const char *path, int writes) {
    if (!is_under(path)) return 0;
    long n = __atomic_add_fetch(&calls, 1, __ATOMIC_SEQ_CST);
    if (note >= 0) dprintf(note, "%ld %s %s\n", n, call, path + strlen(under));
    if (since < 0) {
        char this[PATH_MAX + 16];
        snprintf(this, sizeof this, "%s %s", call, path + strlen(under));
        if (!strcmp(this, behind)) since = n;
        return 0;
    }
    long when = at ? since + at : 0;
    if (how == KILL && n == when) return -1;
    if (how == EIO_ONCE && n == when) return EIO;
    if (how == FULL && when && (n == when || (n > when && writes))) return ENOSPC;
    return 0;
}

static int fault_at(const char *call, int folder, const char *name, int writes) {
    char path[PATH_MAX];
    if (!under[0] || !name) return 0;
    absolute(folder, name, path);
    int error = fault(call, path, writes);
    if (error < 0) kill(getpid(), SIGKILL);
    return error;
}

#define REAL(name) ({ static __typeof__(&name) real; if (!real) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name); real; })
#define FAIL(error) do { int e = (error); if (e) { errno = e; return -1; } } while (0)

#define OPENS(flags) (((flags) & O_ACCMODE) != O_RDONLY || ((flags) & O_CREAT))
#define MODE(flags) mode_t mode = 0; if (((flags) & O_CREAT) || ((flags) & O_TMPFILE) == O_TMPFILE) { va_list list; va_start(list, flags); mode = va_arg(list, mode_t); va_end(list); }
int open(const char *name, int flags, ...) {
    MODE(flags)
    if (OPENS(flags)) FAIL(fault_at("open", AT_FDCWD, name, 1));
    return REAL(open)(name, flags, mode);
}
int open64(const char *name, int flags, ...) {
    MODE(flags)
    if (OPENS(flags)) FAIL(fault_at("open", AT_FDCWD, name, 1));
    return REAL(open64)(name, flags, mode);
}
int openat(int folder, const char *name, int flags, ...) {
    MODE(flags)
    if (OPENS(flags)) FAIL(fault_at("open", folder, name, 1));
    return REAL(openat)(folder, name, flags, mode);
}
int openat64(int folder, const char *name, int flags, ...) {
    MODE(flags)
    if (OPENS(flags)) FAIL(fault_at("open", folder, name, 1));
    return REAL(openat64)(folder, name, flags, mode);
}

static int fault_of(const char *call, int file, int writes) {
    char link[64], path[PATH_MAX];
    if (!under[0]) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t n = readlink(link, path, sizeof path - 1);
    if (n <= 0) return 0;
    path[n] = 0;
    return fault(call, path, writes);
}

/* A disk that is full takes a part of a write; a process that is killed has written one. */
ssize_t write(int file, const void *bytes, size_t count) {
    int error = fault_of("write", file, 1);
    if (error && error != EIO && count > 1) {
        ssize_t done = REAL(write)(file, bytes, count / 2);
        if (error > 0 && done > 0) return done;
    }
    if (error < 0) kill(getpid(), SIGKILL);
    FAIL(error);
    return REAL(write)(file, bytes, count);
}
ssize_t writev(int file, const struct iovec *parts, int count) {
    int error = fault_of("write", file, 1);
    if (error < 0) kill(getpid(), SIGKILL);
    FAIL(error);
    return REAL(writev)(file, parts, count);
}
ssize_t pwrite64(int file, const void *bytes, size_t count, off64_t place) {
    int error = fault_of("write", file, 1);
    if (error < 0) kill(getpid(), SIGKILL);
    FAIL(error);
    return REAL(pwrite64)(file, bytes, count, place);
}

#define ON_FILE(name, call, writes, parameters, arguments) \
    int name parameters { int error = fault_of(call, file, writes); if (error < 0) kill(getpid(), SIGKILL); FAIL(error); return REAL(name) arguments; }
ON_FILE(fsync, "fsync", 1, (int file), (file))
ON_FILE(fdatasync, "fsync", 1, (int file), (file))
ON_FILE(ftruncate, "truncate", 0, (int file, off_t length), (file, length))
ON_FILE(ftruncate64, "truncate", 0, (int file, off64_t length), (file, length))

#define ON_NAME(function, call, writes, folder, parameters, arguments) \
    int function parameters { FAIL(fault_at(call, folder, name, writes)); return REAL(function) arguments; }
ON_NAME(mkdir, "mkdir", 1, AT_FDCWD, (const char *name, mode_t mode), (name, mode))
ON_NAME(mkdirat, "mkdir", 1, folder, (int folder, const char *name, mode_t mode), (folder, name, mode))
ON_NAME(unlink, "unlink", 0, AT_FDCWD, (const char *name), (name))
ON_NAME(rmdir, "unlink", 0, AT_FDCWD, (const char *name), (name))
ON_NAME(unlinkat, "unlink", 0, folder, (int folder, const char *name, int flags), (folder, name, flags))
/* Noted by the name that comes to be. */
ON_NAME(rename, "rename", 0, AT_FDCWD, (const char *old, const char *name), (old, name))
ON_NAME(renameat, "rename", 0, folder, (int from, const char *old, int folder, const char *name), (from, old, folder, name))
ON_NAME(link, "link", 1, AT_FDCWD, (const char *name, const char *other), (name, other))
