/*
 * A file system that fails on order. Loaded into a program with LD_PRELOAD, it lets the calls through that write and sync
 * files, until the file FAULT_TRIGGER is there. Its one line says what fails from then on:
 *
 *     write|sync|truncate SUFFIX ERRNO FIRST COUNT
 *
 * the calls of this kind on files whose name ends like this, from the FIRST on (1 is the next), COUNT of them. Each failure
 * adds a byte to FAULT_TRIGGER.failed, so that a test knows that it was not let through.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

typedef ssize_t (*write_call)(int, const void *, size_t);
typedef ssize_t (*pwrite_call)(int, const void *, size_t, off_t);
typedef ssize_t (*pwrite64_call)(int, const void *, size_t, off64_t);
typedef int (*sync_call)(int);
typedef int (*truncate_call)(int, off_t);
typedef int (*truncate64_call)(int, off64_t);

static pthread_mutex_t one_at_a_time = PTHREAD_MUTEX_INITIALIZER;
static long calls_seen;

static int ends_with(const char *path, const char *suffix)
{
    size_t length = strlen(path), wanted = strlen(suffix);
    return length >= wanted && strcmp(path + length - wanted, suffix) == 0;
}

/* Goes past the wrappers below. */
static void tell_of_failure(const char *trigger)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s.failed", trigger);
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (fd < 0)
        return;
    write_call write_it = (write_call)dlsym(RTLD_NEXT, "write");
    if (write_it(fd, ".", 1) != 1)
        abort();
    close(fd);
}

/* The errno that this call fails with, or 0. */
static int failure(const char *kind, int fd)
{
    const char *trigger = getenv("FAULT_TRIGGER");
    if (trigger == NULL)
        return 0;
    int before = errno, code = 0;
    pthread_mutex_lock(&one_at_a_time);
    FILE *order = fopen(trigger, "re");
    if (order == NULL) {
        calls_seen = 0;
    } else {
        char wanted[16], suffix[64], link[64], path[PATH_MAX];
        long number, first, count;
        int read = fscanf(order, "%15s %63s %ld %ld %ld", wanted, suffix, &number, &first, &count);
        fclose(order);
        snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
        ssize_t length = readlink(link, path, sizeof path - 1);
        if (read == 5 && length > 0 && strcmp(wanted, kind) == 0) {
            path[length] = '\0';
            if (ends_with(path, suffix)) {
                calls_seen++;
                if (calls_seen >= first && calls_seen < first + count) {
                    tell_of_failure(trigger);
                    code = (int)number;
                }
            }
        }
    }
    pthread_mutex_unlock(&one_at_a_time);
    errno = before;
    return code;
}

#define FAIL_IF_ORDERED(kind, fd)       \
    do {                                \
        int code = failure(kind, fd);   \
        if (code != 0) {                \
            errno = code;               \
            return -1;                  \
        }                               \
    } while (0)

ssize_t write(int fd, const void *bytes, size_t length)
{
    FAIL_IF_ORDERED("write", fd);
    return ((write_call)dlsym(RTLD_NEXT, "write"))(fd, bytes, length);
}

ssize_t pwrite(int fd, const void *bytes, size_t length, off_t at)
{
    FAIL_IF_ORDERED("write", fd);
    return ((pwrite_call)dlsym(RTLD_NEXT, "pwrite"))(fd, bytes, length, at);
}

ssize_t pwrite64(int fd, const void *bytes, size_t length, off64_t at)
{
    FAIL_IF_ORDERED("write", fd);
    return ((pwrite64_call)dlsym(RTLD_NEXT, "pwrite64"))(fd, bytes, length, at);
}

int fsync(int fd)
{
    FAIL_IF_ORDERED("sync", fd);
    return ((sync_call)dlsym(RTLD_NEXT, "fsync"))(fd);
}

int fdatasync(int fd)
{
    FAIL_IF_ORDERED("sync", fd);
    return ((sync_call)dlsym(RTLD_NEXT, "fdatasync"))(fd);
}

int ftruncate(int fd, off_t length)
{
    FAIL_IF_ORDERED("truncate", fd);
    return ((truncate_call)dlsym(RTLD_NEXT, "ftruncate"))(fd, length);
}

int ftruncate64(int fd, off64_t length)
{
    FAIL_IF_ORDERED("truncate", fd);
    return ((truncate64_call)dlsym(RTLD_NEXT, "ftruncate64"))(fd, length);
}
