/* Faults of the file system and of the clock, put in between a program and the C library.
   Compiled by the tests, loaded by LD_PRELOAD, armed by the program itself (ctypes). */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { WRITE = 1, CREATE = 2, READ = 4, OPEN = 8, SYNC = 16, RENAME = 32, LOCK = 64, STAT = 128 };

static char part[1024];
static int kinds, fault;
static long at, times, seen;
static long jump, jump_at, asked;
static __thread int inside;

/* From call number `first` on, `many` calls (-1: all) of the given kinds on paths that hold `text`
   fail with `error`; SIGKILL in its place where it is -1, a stop
   (SIGSTOP) before it where it is -2; they are only counted where first is 0. */
void faults_arm(const char *text, int operations, long first, long many, int error) {
    snprintf(part, sizeof part, "%s", text);
    at = first, times = many, fault = error, seen = 0, kinds = operations;
}

long faults_seen(void) { return seen; }

/* The clock jumps by `seconds` at its call number `first`. */
void faults_clock(long seconds, long first) { jump = seconds, jump_at = first, asked = 0; }

static int fails(int kind, const char *path) {
    if (!(kinds & kind) || inside || !path || !strstr(path, part)) return 0;
    long now = __sync_add_and_fetch(&seen, 1);
    if (!at || now < at || (times >= 0 && now >= at + times)) return 0;
    if (fault == -1) raise(SIGKILL);
    if (fault == -2) {
        raise(SIGSTOP);
        return 0;
    }
    errno = fault;
    return 1;
}

static int fails_fd(int kind, int fd) {
    if (!(kinds & kind) || inside || fd < 0) return 0;
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    inside = 1;
    ssize_t length = readlink(link, path, sizeof path - 1);
    inside = 0;
    if (length < 0) return 0;
    path[length] = 0;
    return fails(kind, path);
}

#define REAL(name) \
    static __typeof__(name) *real; \
    if (!real) real = (__typeof__(name) *)dlsym(RTLD_NEXT, #name)

#define BY_FD(type, name, kind, parameters, arguments) \
    type name parameters { REAL(name); return fails_fd(kind, fd) ? (type)-1 : real arguments; }

BY_FD(ssize_t, write, WRITE, (int fd, const void *b, size_t n), (fd, b, n))
BY_FD(ssize_t, pwrite, WRITE, (int fd, const void *b, size_t n, off_t o), (fd, b, n, o))
BY_FD(ssize_t, pwrite64, WRITE, (int fd, const void *b, size_t n, off64_t o), (fd, b, n, o))
BY_FD(ssize_t, writev, WRITE, (int fd, const struct iovec *v, int n), (fd, v, n))
BY_FD(int, ftruncate, WRITE, (int fd, off_t n), (fd, n))
BY_FD(int, ftruncate64, WRITE, (int fd, off64_t n), (fd, n))
BY_FD(int, fsync, SYNC, (int fd), (fd))
BY_FD(ssize_t, read, READ, (int fd, void *b, size_t n), (fd, b, n))
BY_FD(ssize_t, pread, READ, (int fd, void *b, size_t n, off_t o), (fd, b, n, o))
BY_FD(ssize_t, pread64, READ, (int fd, void *b, size_t n, off64_t o), (fd, b, n, o))
BY_FD(int, flock, LOCK, (int fd, int how), (fd, how))

int posix_fallocate(int fd, off_t o, off_t n) {
    REAL(posix_fallocate);
    return fails_fd(WRITE, fd) ? errno : real(fd, o, n);
}
int posix_fallocate64(int fd, off64_t o, off64_t n) {
    REAL(posix_fallocate64);
    return fails_fd(WRITE, fd) ? errno : real(fd, o, n);
}

size_t fwrite(const void *b, size_t size, size_t n, FILE *stream) {
    REAL(fwrite);
    return fails_fd(WRITE, fileno(stream)) ? 0 : real(b, size, n, stream);
}
size_t fread(void *b, size_t size, size_t n, FILE *stream) {
    REAL(fread);
    return fails_fd(READ, fileno(stream)) ? 0 : real(b, size, n, stream);
}

ssize_t sendfile(int to, int from, off_t *o, size_t n) {
    REAL(sendfile);
    return fails_fd(WRITE, to) || fails_fd(READ, from) ? -1 : real(to, from, o, n);
}
ssize_t sendfile64(int to, int from, off64_t *o, size_t n) {
    REAL(sendfile64);
    return fails_fd(WRITE, to) || fails_fd(READ, from) ? -1 : real(to, from, o, n);
}

static int refuses_open(const char *path, int flags) {
    return fails(flags & (O_CREAT | O_WRONLY | O_RDWR) ? CREATE : OPEN, path);
}
#define OPENS(name) \
    int name(const char *path, int flags, ...) { \
        REAL(name); \
        va_list list; va_start(list, flags); int mode = va_arg(list, int); va_end(list); \
        return refuses_open(path, flags) ? -1 : real(path, flags, mode); \
    }
OPENS(open)
OPENS(open64)
#define OPENS_AT(name) \
    int name(int folder, const char *path, int flags, ...) { \
        REAL(name); \
        va_list list; va_start(list, flags); int mode = va_arg(list, int); va_end(list); \
        return refuses_open(path, flags) ? -1 : real(folder, path, flags, mode); \
    }
OPENS_AT(openat)
OPENS_AT(openat64)

int mkdir(const char *path, mode_t mode) {
    REAL(mkdir);
    return fails(CREATE, path) ? -1 : real(path, mode);
}
int link(const char *from, const char *to) {
    REAL(link);
    return fails(CREATE, to) ? -1 : real(from, to);
}
int rename(const char *from, const char *to) {
    REAL(rename);
    return fails(RENAME, to) ? -1 : real(from, to);
}
int unlink(const char *path) {
    REAL(unlink);
    return fails(RENAME, path) ? -1 : real(path);
}
int rmdir(const char *path) {
    REAL(rmdir);
    return fails(RENAME, path) ? -1 : real(path);
}

#define STATS(name, kind) \
    int name(const char *path, struct kind *found) { \
        REAL(name); \
        return fails(STAT, path) ? -1 : real(path, found); \
    }
STATS(stat, stat)
STATS(stat64, stat64)
STATS(lstat, stat)
STATS(lstat64, stat64)
int fstatat(int folder, const char *path, struct stat *found, int flags) {
    REAL(fstatat);
    return fails(STAT, path) ? -1 : real(folder, path, found, flags);
}
int fstatat64(int folder, const char *path, struct stat64 *found, int flags) {
    REAL(fstatat64);
    return fails(STAT, path) ? -1 : real(folder, path, found, flags);
}
DIR *opendir(const char *path) {
    REAL(opendir);
    return fails(STAT, path) ? NULL : real(path);
}

static long jumped(void) {
    return jump && __sync_add_and_fetch(&asked, 1) >= jump_at ? jump : 0;
}
int clock_gettime(clockid_t clock, struct timespec *now) {
    REAL(clock_gettime);
    int ended = real(clock, now);
    if (clock == CLOCK_REALTIME && !ended) now->tv_sec += jumped();
    return ended;
}
time_t time(time_t *now) {
    REAL(time);
    time_t found = real(NULL) + jumped();
    if (now) *now = found;
    return found;
}
