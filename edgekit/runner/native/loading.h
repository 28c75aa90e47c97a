/* The runtime and the model that a request names, opened. */
#ifndef EDGEKIT_LOADING_H
#define EDGEKIT_LOADING_H

#include "request.h"
#include "session.h"

/* The `runtime` event; `threads` is 0 where nothing is to be run. */
void emit_runtime(const Runtime *runtime, const char *version, int threads);

/* Opens the runtime's library and says so. Fails the run where there is none. */
const Runtime *open_runtime(const Request *request);

/* Loads the payload. Fails the run where that cannot be done. */
void load_session(const Request *request, const Runtime *runtime, Session *session);

#endif
