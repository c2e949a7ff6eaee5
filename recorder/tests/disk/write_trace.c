/* Records every change that a program makes below a folder, in order, with its bytes; and lets writes fail on demand.
 *
 * Loaded with LD_PRELOAD. WRITE_TRACE_ROOT is the folder, WRITE_TRACE_FILE takes the records (see trace.rs), and while
 * the file WRITE_FAULT_FILE holds "ERRNO TEXT", changes of paths that contain TEXT fail with that number.
 *
 * A change and its record are one step: the trace file is locked meanwhile, so a test that holds the lock may kill the
 * program without tearing a step apart.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define MOST_FILES 65536

static char *paths[MOST_FILES];
static char root[PATH_MAX], fault_file[PATH_MAX];
static size_t root_length;
static int trace = -1;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

#define REAL(result, name, ...) \
    static result (*real_##name)(__VA_ARGS__); \
    if (!real_##name) *(void **)&real_##name = dlsym(RTLD_NEXT, #name)

__attribute__((constructor)) static void begin(void) {
    const char *folder = getenv("WRITE_TRACE_ROOT"), *file = getenv("WRITE_TRACE_FILE"), *fault = getenv("WRITE_FAULT_FILE");
    REAL(int, open, const char *, int, ...);
    if (fault) snprintf(fault_file, sizeof fault_file, "%s", fault);
    if (!folder) return;
    snprintf(root, sizeof root, "%s/", folder);
    root_length = strlen(root);
    if (file) trace = real_open(file, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
}

/* The path below the folder, NULL if it is not below it. */
static const char *below(const char *path) {
    if (root_length && path && strncmp(path, root, root_length) == 0) return path + root_length;
    if (root_length && path && strncmp(path, root, root_length - 1) == 0 && path[root_length - 1] == 0) return "";
    return NULL;
}

static const char *path_of(int file) {
    return file >= 0 && file < MOST_FILES ? paths[file] : NULL;
}

static void step_begin(void) {
    pthread_mutex_lock(&lock);
    if (trace >= 0) while (flock(trace, LOCK_EX) != 0 && errno == EINTR) {}
}

static void step_end(void) {
    int error = errno;
    if (trace >= 0) flock(trace, LOCK_UN);
    pthread_mutex_unlock(&lock);
    errno = error;
}

static void record(char kind, const char *path, uint64_t number, const void *data, size_t length) {
    REAL(ssize_t, writev, int, const struct iovec *, int);
    if (trace < 0) return;
    int error = errno;
    struct __attribute__((packed)) { char kind; uint64_t number; uint32_t path_length, length; } head =
        { kind, number, (uint32_t)strlen(path), (uint32_t)length };
    struct iovec parts[] = { { &head, sizeof head }, { (void *)path, strlen(path) }, { (void *)data, length } };
    ssize_t size = (ssize_t)(sizeof head + strlen(path) + length);
    if (real_writev(trace, parts, 3) != size) abort();
    errno = error;
}

/* Whether a change of this path is to fail now; sets errno. */
static int is_to_fail(const char *path) {
    REAL(int, open, const char *, int, ...);
    if (!fault_file[0]) return 0;
    int file = real_open(fault_file, O_RDONLY | O_CLOEXEC);
    if (file < 0) return 0;
    char text[512] = { 0 };
    ssize_t size = read(file, text, sizeof text - 1);
    close(file);
    if (size <= 0) return 0;
    text[strcspn(text, "\n")] = 0;
    char *what = strchr(text, ' ');
    if (!what || !strstr(path, what + 1)) return 0;
    errno = atoi(text);
    return 1;
}

static int open_any(int (*real)(const char *, int, ...), const char *path, int flags, mode_t mode) {
    const char *name = below(path);
    if (!name) return real(path, flags, mode);
    step_begin();
    struct stat before;
    int is_there = stat(path, &before) == 0;
    int is_change = ((flags & O_CREAT) && !is_there) || (flags & O_TRUNC);
    int file = -1, fails = is_to_fail(name);
    /* A disk that may only be read refuses whoever wants to write, any other fault comes with the write. */
    if (fails && !is_change && !(errno == EROFS && (flags & O_ACCMODE) != O_RDONLY)) fails = 0;
    if (!fails) file = real(path, flags, mode);
    if (file >= 0 && file < MOST_FILES) {
        free(paths[file]);
        paths[file] = strdup(name);
        if (!is_there) record('C', name, 0, NULL, 0);
        else if (flags & O_TRUNC) record('T', name, 0, NULL, 0);
    }
    step_end();
    return file;
}

#define OPEN(name) \
    int name(const char *path, int flags, ...) { \
        REAL(int, name, const char *, int, ...); \
        mode_t mode = 0; \
        if (flags & (O_CREAT | O_TMPFILE)) { va_list rest; va_start(rest, flags); mode = va_arg(rest, mode_t); va_end(rest); } \
        return open_any(real_##name, path, flags, mode); \
    }
OPEN(open)
OPEN(open64)

#define OPENAT(name, plain) \
    int name(int folder, const char *path, int flags, ...) { \
        REAL(int, name, int, const char *, int, ...); \
        mode_t mode = 0; \
        if (flags & (O_CREAT | O_TMPFILE)) { va_list rest; va_start(rest, flags); mode = va_arg(rest, mode_t); va_end(rest); } \
        if (below(path)) return plain(path, flags, mode); \
        return real_##name(folder, path, flags, mode); \
    }
OPENAT(openat, open)
OPENAT(openat64, open64)

int creat(const char *path, mode_t mode) { return open(path, O_CREAT | O_WRONLY | O_TRUNC, mode); }
int creat64(const char *path, mode_t mode) { return open64(path, O_CREAT | O_WRONLY | O_TRUNC, mode); }

int close(int file) {
    REAL(int, close, int);
    if (!path_of(file)) return real_close(file);
    step_begin();
    free(paths[file]);
    paths[file] = NULL;
    int result = real_close(file);
    step_end();
    return result;
}

/* The record goes first: bytes that were about to be written may or may not be there after a cut. */
#define STEP(result, name, file, kind, number, data, length, call) \
    const char *path = path_of(file); \
    if (!path) return call; \
    step_begin(); \
    result outcome = -1; \
    if (!is_to_fail(path)) { record(kind, path, (uint64_t)(number), data, length); outcome = call; } \
    step_end(); \
    return outcome;

static off_t place_of(int file) {
    int flags = fcntl(file, F_GETFL);
    struct stat now;
    if ((flags & O_APPEND) && fstat(file, &now) == 0) return now.st_size;
    return lseek(file, 0, SEEK_CUR);
}

ssize_t write(int file, const void *data, size_t length) {
    REAL(ssize_t, write, int, const void *, size_t);
    STEP(ssize_t, write, file, 'W', place_of(file), data, length, real_write(file, data, length))
}
ssize_t pwrite(int file, const void *data, size_t length, off_t at) {
    REAL(ssize_t, pwrite, int, const void *, size_t, off_t);
    STEP(ssize_t, pwrite, file, 'W', at, data, length, real_pwrite(file, data, length, at))
}
ssize_t pwrite64(int file, const void *data, size_t length, off64_t at) {
    REAL(ssize_t, pwrite64, int, const void *, size_t, off64_t);
    STEP(ssize_t, pwrite64, file, 'W', at, data, length, real_pwrite64(file, data, length, at))
}
int ftruncate(int file, off_t size) {
    REAL(int, ftruncate, int, off_t);
    STEP(int, ftruncate, file, 'T', size, NULL, 0, real_ftruncate(file, size))
}
int ftruncate64(int file, off64_t size) {
    REAL(int, ftruncate64, int, off64_t);
    STEP(int, ftruncate64, file, 'T', size, NULL, 0, real_ftruncate64(file, size))
}

/* What the replayer does not know is told, so that the test fails instead of passing without it. */
#define UNKNOWN(result, name, file, parameters, call) \
    result name parameters { \
        REAL(result, name, CALL_TYPES); \
        const char *path = path_of(file); \
        if (path) { step_begin(); record('X', path, 0, #name, strlen(#name)); step_end(); } \
        return call; \
    }
#define CALL_TYPES int, const struct iovec *, int
UNKNOWN(ssize_t, writev, file, (int file, const struct iovec *parts, int count), real_writev(file, parts, count))
#undef CALL_TYPES
#define CALL_TYPES int, const struct iovec *, int, off_t
UNKNOWN(ssize_t, pwritev, file, (int file, const struct iovec *parts, int count, off_t at), real_pwritev(file, parts, count, at))
UNKNOWN(ssize_t, pwritev64, file, (int file, const struct iovec *parts, int count, off_t at), real_pwritev64(file, parts, count, at))
#undef CALL_TYPES
#define CALL_TYPES int, int, off_t, off_t
UNKNOWN(int, fallocate, file, (int file, int mode, off_t at, off_t length), real_fallocate(file, mode, at, length))
UNKNOWN(int, fallocate64, file, (int file, int mode, off_t at, off_t length), real_fallocate64(file, mode, at, length))
#undef CALL_TYPES
#define CALL_TYPES int, off_t, off_t
UNKNOWN(int, posix_fallocate, file, (int file, off_t at, off_t length), real_posix_fallocate(file, at, length))
#undef CALL_TYPES
#define CALL_TYPES int, off64_t *, int, off64_t *, size_t, unsigned
UNKNOWN(ssize_t, copy_file_range, to, (int from, off64_t *in, int to, off64_t *out, size_t length, unsigned flags), real_copy_file_range(from, in, to, out, length, flags))
#undef CALL_TYPES

static int sync_any(int (*real)(int), int file) {
    const char *path = path_of(file);
    if (!path) return real(file);
    step_begin();
    int outcome = -1;
    if (!is_to_fail(path)) outcome = real(file);
    if (outcome == 0) record('S', path, 0, NULL, 0);
    step_end();
    return outcome;
}
int fsync(int file) { REAL(int, fsync, int); return sync_any(real_fsync, file); }
int fdatasync(int file) { REAL(int, fdatasync, int); return sync_any(real_fdatasync, file); }
/* sync_file_range promises nothing after a power cut, so it is none. */

static int name_step(char kind, const char *path, const char *other, int (*call)(const char *, const char *)) {
    const char *name = below(path);
    if (!name) return call(path, other);
    step_begin();
    int outcome = -1;
    if (!is_to_fail(name)) outcome = call(path, other);
    if (outcome == 0) {
        const char *second = other ? below(other) : NULL;
        record(kind, name, 0, second ? second : "", second ? strlen(second) : 0);
    }
    step_end();
    return outcome;
}

static int call_rename(const char *from, const char *to) { REAL(int, rename, const char *, const char *); return real_rename(from, to); }
static int call_link(const char *from, const char *to) { REAL(int, link, const char *, const char *); return real_link(from, to); }
static int call_unlink(const char *path, const char *none) { (void)none; REAL(int, unlink, const char *); return real_unlink(path); }
static int call_rmdir(const char *path, const char *none) { (void)none; REAL(int, rmdir, const char *); return real_rmdir(path); }

int rename(const char *from, const char *to) { return name_step('R', from, to, call_rename); }
int link(const char *from, const char *to) { return name_step('L', from, to, call_link); }
int unlink(const char *path) { return name_step('U', path, NULL, call_unlink); }
int rmdir(const char *path) { return name_step('U', path, NULL, call_rmdir); }
int linkat(int one, const char *from, int two, const char *to, int flags) {
    REAL(int, linkat, int, const char *, int, const char *, int);
    if (below(from) && below(to)) return link(from, to);
    return real_linkat(one, from, two, to, flags);
}
int unlinkat(int folder, const char *path, int flags) {
    REAL(int, unlinkat, int, const char *, int);
    if (below(path)) return flags & AT_REMOVEDIR ? rmdir(path) : unlink(path);
    return real_unlinkat(folder, path, flags);
}
int renameat(int one, const char *from, int two, const char *to) {
    REAL(int, renameat, int, const char *, int, const char *);
    if (below(from) && below(to)) return rename(from, to);
    return real_renameat(one, from, two, to);
}
int mkdir(const char *path, mode_t mode) {
    REAL(int, mkdir, const char *, mode_t);
    const char *name = below(path);
    if (!name) return real_mkdir(path, mode);
    step_begin();
    int outcome = -1;
    if (!is_to_fail(name)) outcome = real_mkdir(path, mode);
    if (outcome == 0) record('M', name, 0, NULL, 0);
    step_end();
    return outcome;
}
