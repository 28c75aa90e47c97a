#define _GNU_SOURCE
#include "pair.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "events.h"
#include "failure.h"
#include "supervise.h"

enum { READ_BYTES = 1 << 16, KILLED_WITHIN_MS = 5000, NOT_EXECUTED = 127 };

typedef struct {
  pid_t pid;  /* 0 after it was waited for */
  int output; /* where its events come from; -1 after they ended */
  char *text; /* of a line that has not ended yet */
  size_t used, room;
  int status; /* of its `done`; -1 before */
} Side;

typedef struct {
  Side sides[PAIR];
  int turns[PAIR][2]; /* the pipe that side i takes its turn from */
} Pair;

static void open_pipe(int ends[2]) {
  if (pipe2(ends, O_CLOEXEC) != 0) fail("failed", "no pipe: %s", strerror(errno));
}

/* In the child: leaves it the two descriptors of the turn and the three standard ones, and becomes the program. */
static _Noreturn void become_side(int i, const Pair *pair, int output, const char *request, const char *program) {
  char role[64];
  int take = pair->turns[i][0], give = pair->turns[1 - i][1];
  snprintf(role, sizeof role, "%s,%d,%d", i == 0 ? "first" : "second", take, give);
  const char *const words[] = {program, request, role, NULL};
  char *arguments[4];
  memcpy(arguments, words, sizeof arguments); /* execv changes none of them; its type is older than const */
  if (dup2(output, STDOUT_FILENO) >= 0 && fcntl(take, F_SETFD, 0) == 0 && fcntl(give, F_SETFD, 0) == 0) {
    execv("/proc/self/exe", arguments);
    execv(program, arguments);
  }
  fprintf(stderr, "edgekit-runner: it cannot start itself: %s\n", strerror(errno));
  _exit(NOT_EXECUTED);
}

static void start_side(Pair *pair, int i, const char *request, const char *program) {
  int output[2];
  pid_t parent = getpid();
  open_pipe(output);
  pid_t child = fork();
  if (child < 0) fail("failed", "a process cannot be started: %s", strerror(errno));
  if (child == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* which lasts beyond execv */
    if (getppid() != parent) _exit(1);
    become_side(i, pair, output[1], request, program);
  }
  close(output[1]);
  pair->sides[i] = (Side){.pid = child, .output = output[0], .status = -1};
}

static int wait_for(Side *side) {
  int status;
  while (waitpid(side->pid, &status, 0) < 0)
    if (errno != EINTR) fail("failed", "a process cannot be waited for: %s", strerror(errno));
  side->pid = 0;
  return status;
}

/* Ends a side: its supervisor is killed, by which the kernel kills the process below; the output ends with that one. */
static void kill_side(Side *side) {
  static char dropped[READ_BYTES];
  if (side->pid == 0) return;
  kill(side->pid, SIGKILL);
  wait_for(side);
  struct pollfd watched = {.fd = side->output, .events = POLLIN};
  while (poll(&watched, 1, KILLED_WITHIN_MS) > 0 && read(side->output, dropped, sizeof dropped) > 0) {
  }
  close(side->output);
  side->output = -1;
}

static _Noreturn void end_without_done(Pair *pair, int status) {
  supervisor_last_event();
  for (int i = 0; i < PAIR; i++) kill_side(&pair->sides[i]);
  _exit(status);
}

static bool is_event(const char *line, size_t length, const char *name) {
  char beginning[32];
  int expected = snprintf(beginning, sizeof beginning, "{\"event\":\"%s\"", name);
  return length > (size_t)expected && memcmp(line, beginning, (size_t)expected) == 0;
}

/* One line of side `i`, NUL-terminated. */
static void pass_line(Pair *pair, int i, const char *line, size_t length) {
  static const char format[] = "{\"event\":\"done\",\"status\":%d}";
  bool is_error = is_event(line, length, "error");
  if (is_error) supervisor_last_event();
  if (!event_pass("side", i, line, length)) fail("failed", "process %d of the two wrote a line that is no event", i);
  if (is_error) end_without_done(pair, 1);
  if (is_event(line, length, "done") && sscanf(line, format, &pair->sides[i].status) == 1 && pair->sides[i].status != 0)
    kill_side(&pair->sides[1 - i]);
}

/* Passes on the lines that are whole, and keeps the beginning of the next one. `fresh` bytes were not looked at yet. */
static void pass_lines(Pair *pair, int i, size_t fresh) {
  Side *side = &pair->sides[i];
  char *line = side->text, *end = side->text + side->used, *look = end - fresh, *newline;
  while ((newline = memchr(look, '\n', (size_t)(end - look))) != NULL) {
    *newline = '\0';
    pass_line(pair, i, line, (size_t)(newline - line));
    line = look = newline + 1;
  }
  side->used = (size_t)(end - line);
  memmove(side->text, line, side->used);
}

/* Judges how a side whose output has ended did end. */
static void end_side(Pair *pair, int i) {
  Side *side = &pair->sides[i];
  close(side->output);
  side->output = -1;
  int status = wait_for(side);
  if (WIFSIGNALED(status)) end_without_done(pair, 128 + WTERMSIG(status));
  int code = WEXITSTATUS(status);
  if (side->status < 0 || code != side->status) end_without_done(pair, code != 0 ? code : 1);
  for (int k = 0; k < PAIR; k++) { /* should the other one wait for a turn all the same, then it says so */
    close(pair->turns[k][0]);
    close(pair->turns[k][1]);
    pair->turns[k][0] = pair->turns[k][1] = -1;
  }
}

static void read_side(Pair *pair, int i) {
  Side *side = &pair->sides[i];
  if (side->room - side->used < READ_BYTES) {
    size_t room = (side->room + READ_BYTES) * 2;
    char *grown = realloc(side->text, room);
    if (grown == NULL) fail("failed", "no memory for a line of %zu bytes", room);
    side->text = grown;
    side->room = room;
  }
  ssize_t got = read(side->output, side->text + side->used, READ_BYTES);
  if (got < 0 && errno == EINTR) return;
  if (got <= 0) {
    end_side(pair, i);
    return;
  }
  side->used += (size_t)got;
  pass_lines(pair, i, (size_t)got);
}

int run_pair(const Request *request, const char *program) {
  static Pair pair;
  supervisor_stage("starting two processes");
  for (int i = 0; i < PAIR; i++) open_pipe(pair.turns[i]);
  for (int i = 0; i < PAIR; i++) start_side(&pair, i, request->sides[i], program);
  if (write(pair.turns[0][1], "m", 1) != 1) fail("failed", "the first turn cannot be given: %s", strerror(errno));
  supervisor_stage("passing on what two processes say");
  while (pair.sides[0].output >= 0 || pair.sides[1].output >= 0) {
    struct pollfd watched[PAIR];
    for (int i = 0; i < PAIR; i++) watched[i] = (struct pollfd){.fd = pair.sides[i].output, .events = POLLIN};
    if (poll(watched, PAIR, -1) < 0) { /* for ever: whether a side hangs is for the host to say, by its silence */
      if (errno != EINTR) fail("failed", "two processes cannot be watched: %s", strerror(errno));
      continue;
    }
    for (int i = 0; i < PAIR; i++)
      if (watched[i].revents != 0 && pair.sides[i].output >= 0) read_side(&pair, i);
  }
  return pair.sides[0].status > pair.sides[1].status ? pair.sides[0].status : pair.sides[1].status;
}
