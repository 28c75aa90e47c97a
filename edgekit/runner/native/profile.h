/* What each operator costs, by the runtime's own profiler: the rules of edgekit/runner/profile.py. */
#ifndef EDGEKIT_PROFILE_H
#define EDGEKIT_PROFILE_H

#include "npy.h"
#include "request.h"

/* Loads the model twice, without the profiler and with it, and emits `profile`; or `no-profile` where the runtime has none. */
void profile_model(const Runtime *runtime, const char *path, const Request *request, const Npy *inputs);

#endif
