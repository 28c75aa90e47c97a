/* Two processes: one that carries the request out, and one that waits and says how it ended.
 *
 * Loaders of models crash on damaged files: LiteRT's reads offsets out of a file unchecked, and a library may abort or
 * exit as it likes. Handlers for SIGSEGV would run in a process whose memory is no longer to be trusted. So the work is
 * done in a child. Should a signal of its own doing end it, or should it exit without a `done` or `error` event, then the
 * parent, which has loaded nothing, writes the one `error` line.
 *
 * - The child is the process that is measured; the parent sleeps in poll() and takes no processor time.
 * - A parent that ends takes the child with it (PR_SET_PDEATHSIG), by whatever signal.
 * - Nobody reads the events any more: the parent kills the child and ends, even while a model is being loaded.
 * - Killed from outside (SIGKILL for want of memory, SIGTERM): the parent ends itself by the same signal. */
#ifndef EDGEKIT_SUPERVISE_H
#define EDGEKIT_SUPERVISE_H

/* Runs `work` in a child and ends the process the way the child ended. `output` is where events go. */
_Noreturn void supervise(int output, int (*work)(void *), void *argument);

/* What is being done, for the message: a phrase such as "loading the model". */
void supervisor_stage(const char *stage);

void supervisor_line_begins(void); /* between the two a line may be torn, and no further one would help */
void supervisor_line_ends(void);
void supervisor_last_event(void); /* `done` or `error` goes out now: nothing may follow */
void supervisor_host_gone(void);  /* nobody reads events any more */

#endif
