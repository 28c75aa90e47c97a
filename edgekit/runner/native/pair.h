/* The process that starts two others, which measure in turn (turns.h), and passes on what they say.
 *
 *     host ── supervisor ── this ─┬─ supervisor ── the first
 *                                 └─ supervisor ── the second
 *
 * It executes its own program once for each request, with a pipe each for the events and for the turn. It is the only
 * judge of how the pair ends: both ends of the pipes of the turn stay open here, so that the end of one side is heard
 * from that side, never first from the other one as "the other process is gone".
 *
 * Who ends takes those below along (PR_SET_PDEATHSIG), stopped ones too. That a host is gone the supervisor sees. */
#ifndef EDGEKIT_PAIR_H
#define EDGEKIT_PAIR_H

#include "request.h"

/* Carries a `turns` request out. `program` is this program's path, for where there is no /proc. Returns the status of
 * `done`; ends the process itself where there is to be none. */
int run_pair(const Request *request, const char *program);

#endif
