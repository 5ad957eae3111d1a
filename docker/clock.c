/*
 * Shows a process skewed clocks, as set from outside the process.
 *
 * Preloaded (LD_PRELOAD) into the node only. A mapped control file, SQUALL_CLOCK, says how each clock
 * runs; it is written by squall-clock, whose layout must agree with `struct control` below.
 * A segment is a straight line through an anchor:
 *
 *     shown = shown_anchor + (true - true_anchor) * rate_ppb / 1e9
 *
 * for the wall clock and for the monotonic clock alike. A new segment begins where the old one ends,
 * so a clock jumps only if a jump was requested, and the monotonic one never goes back.
 *
 * Waiting is translated as well as reading: a deadline computed from the shown clock is converted to
 * the true one before the kernel sees it, and a timeout is scaled by the rate. Without that a fast
 * clock leaves CPython's interpreter lock waiting for seconds, and a slow one makes it spin.
 *
 * Programs that do not read the time through libc (a static Go program, for example) are not
 * affected. Any failure here, such as a missing file, leaves the true clocks in place: the harness
 * measures the effect by the node's own report.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define MAGIC 0x314b4c435553ULL /* "SUCLK1", little-endian */
#define BILLION 1000000000LL
/* No machine has been up since 2001: a deadline later than that is one of the wall clock. */
#define OLDEST_WALL_NS (1000000000LL * BILLION)
/* Deadlines later than this (year 2262) mean "never". */
#define FOREVER_S (INT64_MAX / BILLION)

struct segment {
  int64_t true_wall, shown_wall, true_mono, shown_mono, rate_ppb;
};
/* The writer fills the unused slot and then increments `generation`, whose parity selects it. */
struct control {
  uint64_t magic, generation;
  struct segment slots[2];
};

static const struct control *control;

static int (*real_clock_gettime)(clockid_t, struct timespec *);
static int (*real_clock_nanosleep)(clockid_t, int, const struct timespec *, struct timespec *);
static int (*real_sem_timedwait)(sem_t *, const struct timespec *);
static int (*real_sem_clockwait)(sem_t *, clockid_t, const struct timespec *);
static int (*real_cond_timedwait)(pthread_cond_t *, pthread_mutex_t *, const struct timespec *);
static int (*real_cond_clockwait)(pthread_cond_t *, pthread_mutex_t *, clockid_t,
                                  const struct timespec *);
static int (*real_mutex_timedlock)(pthread_mutex_t *, const struct timespec *);
static int (*real_epoll_wait)(int, struct epoll_event *, int, int);
static int (*real_epoll_pwait)(int, struct epoll_event *, int, int, const sigset_t *);
static int (*real_poll)(struct pollfd *, nfds_t, int);
static long (*real_syscall)(long, ...);

static void *next(const char *name) { return dlsym(RTLD_NEXT, name); }

__attribute__((constructor)) static void begin(void) {
  real_clock_nanosleep = next("clock_nanosleep");
  real_sem_timedwait = next("sem_timedwait");
  real_sem_clockwait = next("sem_clockwait");
  /* x86-64 has a pre-2003 version of this function, which dlsym would return. */
  real_cond_timedwait = dlvsym(RTLD_NEXT, "pthread_cond_timedwait", "GLIBC_2.3.2");
  if (!real_cond_timedwait) real_cond_timedwait = next("pthread_cond_timedwait");
  real_cond_clockwait = next("pthread_cond_clockwait");
  real_mutex_timedlock = next("pthread_mutex_timedlock");
  real_epoll_wait = next("epoll_wait");
  real_epoll_pwait = next("epoll_pwait");
  real_poll = next("poll");
  real_syscall = next("syscall");
  real_clock_gettime = next("clock_gettime");
  const char *path = getenv("SQUALL_CLOCK");
  int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
  if (fd < 0) return;
  void *map = MAP_FAILED;
  if (lseek(fd, 0, SEEK_END) >= (off_t)sizeof(struct control))
    map = mmap(NULL, sizeof(struct control), PROT_READ, MAP_SHARED, fd, 0);
  close(fd);
  if (map != MAP_FAILED && ((const struct control *)map)->magic == MAGIC) control = map;
}

/* The segment in force; 0 while there is none and every clock is true. */
static int segment(struct segment *found) {
  const struct control *c = control;
  if (!c) return 0;
  for (;;) {
    uint64_t generation = __atomic_load_n(&c->generation, __ATOMIC_ACQUIRE);
    if (generation == 0) return 0;
    *found = c->slots[generation & 1];
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    if (__atomic_load_n(&c->generation, __ATOMIC_RELAXED) == generation) return found->rate_ppb > 0;
  }
}

static int64_t line(int64_t at, int64_t from, int64_t to, int64_t multiply, int64_t divide) {
  return to + (int64_t)((__int128)(at - from) * multiply / divide);
}
static int64_t ns_of(const struct timespec *t) { return (int64_t)t->tv_sec * BILLION + t->tv_nsec; }
static void timespec_of(int64_t ns, struct timespec *t) {
  if (ns < 0) ns = 0;
  t->tv_sec = ns / BILLION;
  t->tv_nsec = ns % BILLION;
}

int clock_gettime(clockid_t id, struct timespec *t) {
  /* Other libraries' constructors may run before ours and read the time. */
  if (!real_clock_gettime) real_clock_gettime = next("clock_gettime");
  int failed = real_clock_gettime(id, t);
  struct segment s;
  if (failed || !segment(&s)) return failed;
  if (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE)
    timespec_of(line(ns_of(t), s.true_wall, s.shown_wall, s.rate_ppb, BILLION), t);
  else if (id == CLOCK_MONOTONIC || id == CLOCK_MONOTONIC_COARSE || id == CLOCK_MONOTONIC_RAW ||
           id == CLOCK_BOOTTIME)
    timespec_of(line(ns_of(t), s.true_mono, s.shown_mono, s.rate_ppb, BILLION), t);
  return 0;
}

int gettimeofday(struct timeval *restrict t, void *restrict zone) {
  (void)zone;
  struct timespec now;
  if (clock_gettime(CLOCK_REALTIME, &now)) return -1;
  t->tv_sec = now.tv_sec;
  t->tv_usec = now.tv_nsec / 1000;
  return 0;
}

time_t time(time_t *into) {
  struct timespec now;
  if (clock_gettime(CLOCK_REALTIME, &now)) return (time_t)-1;
  if (into) *into = now.tv_sec;
  return now.tv_sec;
}

/* Converts a deadline of a shown clock to the true clock. */
static const struct timespec *true_deadline(const struct timespec *shown, struct timespec *space) {
  struct segment s;
  if (!shown || shown->tv_sec >= FOREVER_S || !segment(&s)) return shown;
  int64_t ns = ns_of(shown);
  if (ns >= OLDEST_WALL_NS)
    timespec_of(line(ns, s.shown_wall, s.true_wall, BILLION, s.rate_ppb), space);
  else
    timespec_of(line(ns, s.shown_mono, s.true_mono, BILLION, s.rate_ppb), space);
  return space;
}

/* Converts a timeout from shown to true milliseconds; infinite and zero ones are unchanged. */
static int true_timeout(int ms) {
  struct segment s;
  if (ms <= 0 || !segment(&s) || s.rate_ppb == BILLION) return ms;
  int64_t stretched = ((int64_t)ms * BILLION + s.rate_ppb - 1) / s.rate_ppb;
  return stretched > INT32_MAX ? INT32_MAX : (int)stretched;
}

int clock_nanosleep(clockid_t id, int flags, const struct timespec *t, struct timespec *left) {
  struct timespec space;
  return real_clock_nanosleep(id, flags, flags & TIMER_ABSTIME ? true_deadline(t, &space) : t, left);
}
int sem_timedwait(sem_t *restrict sem, const struct timespec *restrict t) {
  struct timespec space;
  return real_sem_timedwait(sem, true_deadline(t, &space));
}
int sem_clockwait(sem_t *restrict sem, clockid_t id, const struct timespec *restrict t) {
  struct timespec space;
  return real_sem_clockwait(sem, id, true_deadline(t, &space));
}
int pthread_cond_timedwait(pthread_cond_t *restrict cond, pthread_mutex_t *restrict mutex,
                           const struct timespec *restrict t) {
  struct timespec space;
  return real_cond_timedwait(cond, mutex, true_deadline(t, &space));
}
int pthread_cond_clockwait(pthread_cond_t *restrict cond, pthread_mutex_t *restrict mutex,
                           clockid_t id, const struct timespec *restrict t) {
  struct timespec space;
  return real_cond_clockwait(cond, mutex, id, true_deadline(t, &space));
}
int pthread_mutex_timedlock(pthread_mutex_t *restrict mutex, const struct timespec *restrict t) {
  struct timespec space;
  return real_mutex_timedlock(mutex, true_deadline(t, &space));
}
int epoll_wait(int fd, struct epoll_event *events, int max, int ms) {
  return real_epoll_wait(fd, events, max, true_timeout(ms));
}
int epoll_pwait(int fd, struct epoll_event *events, int max, int ms, const sigset_t *mask) {
  return real_epoll_pwait(fd, events, max, true_timeout(ms), mask);
}
int poll(struct pollfd *fds, nfds_t count, int ms) {
  return real_poll(fds, count, true_timeout(ms));
}

/* Abseil, inside gRPC, waits on futexes by system call; this operation has a deadline. */
long syscall(long number, ...) {
  va_list list;
  long a[6];
  va_start(list, number);
  for (int i = 0; i < 6; i++) a[i] = va_arg(list, long);
  va_end(list);
  struct timespec space;
  if (number == SYS_futex && (a[1] & FUTEX_CMD_MASK) == FUTEX_WAIT_BITSET)
    a[3] = (long)true_deadline((const struct timespec *)a[3], &space);
  return real_syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}
