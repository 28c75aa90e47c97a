#define _GNU_SOURCE
#include "supervise.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "events.h"
#include "failure.h"

typedef struct {
  char stage[80];
  bool in_line, last_event, host_gone;
} Shared;

static Shared alone; /* until there are two processes */
static Shared *volatile shared = &alone;

void supervisor_stage(const char *stage) { snprintf(shared->stage, sizeof shared->stage, "%s", stage); }
void supervisor_line_begins(void) { shared->in_line = true; }
void supervisor_line_ends(void) { shared->in_line = false; }
void supervisor_last_event(void) { shared->last_event = true; }
void supervisor_host_gone(void) { shared->host_gone = true; }

static _Noreturn void work_in_child(pid_t parent, int (*work)(void *), void *argument) {
  struct rlimit no_core = {0, 0};
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(1);
  setrlimit(RLIMIT_CORE, &no_core); /* a damaged model is no reason to fill a device's disk */
  _exit(work(argument));
}

/* Waits until the child has ended (its end of the pipe `alive` is closed) or nobody reads the events any more. */
static bool wait_for_end(int alive, int output) {
  struct pollfd watched[2] = {{.fd = alive, .events = POLLIN}, {.fd = output}};
  for (;;) {
    if (poll(watched, 2, -1) < 0 && errno != EINTR) return true;
    if (watched[0].revents != 0) return true;
    if (watched[1].revents & (POLLERR | POLLHUP)) return false;
  }
}

static _Noreturn void end_like(int signal_number) {
  struct sigaction action = {.sa_handler = SIG_DFL};
  sigset_t none;
  sigaction(signal_number, &action, NULL);
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
  raise(signal_number);
  _exit(128 + signal_number);
}

static bool is_own_doing(int signal_number) {
  return signal_number == SIGSEGV || signal_number == SIGBUS || signal_number == SIGILL || signal_number == SIGFPE ||
         signal_number == SIGABRT || signal_number == SIGTRAP || signal_number == SIGSYS;
}

_Noreturn void supervise(int output, int (*work)(void *), void *argument) {
  int alive[2], status;
  void *page = mmap(NULL, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (page == MAP_FAILED) fail("failed", "no shared memory: %s", strerror(errno));
  shared = page;
  if (pipe2(alive, O_CLOEXEC) != 0) fail("failed", "no pipe: %s", strerror(errno));
  pid_t parent = getpid(), child = fork();
  if (child < 0) fail("failed", "a second process cannot be started: %s", strerror(errno));
  if (child == 0) {
    close(alive[0]);
    work_in_child(parent, work, argument);
  }
  close(alive[1]);
  bool has_host = wait_for_end(alive[0], output);
  if (!has_host) kill(child, SIGKILL);
  while (waitpid(child, &status, 0) < 0)
    if (errno != EINTR) _exit(1);
  if (!has_host) _exit(1);
  if (WIFSIGNALED(status) && !is_own_doing(WTERMSIG(status))) end_like(WTERMSIG(status));
  if (WIFEXITED(status) && shared->last_event) _exit(WEXITSTATUS(status));
  if (shared->in_line || shared->last_event || shared->host_gone) _exit(1);
  const char *stage = shared->stage[0] != '\0' ? shared->stage : "starting";
  if (WIFSIGNALED(status)) fail("failed", "it crashed (signal %d) while %s", WTERMSIG(status), stage);
  fail("failed", "the runtime ended the process with status %d while %s", WEXITSTATUS(status), stage);
}
