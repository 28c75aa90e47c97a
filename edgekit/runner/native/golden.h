/* The golden inputs of an artifact, and the answers that the host had to them. */
#ifndef EDGEKIT_GOLDEN_H
#define EDGEKIT_GOLDEN_H

#include "request.h"
#include "session.h"

enum { WRONG_ANSWER = 3 }; /* the exit status after a check that failed */

typedef struct {
  Npy inputs[MAX_TENSORS], outputs[MAX_TENSORS];
} Golden;

/* Reads the inputs. Fails the run where there are none. */
void load_inputs(const Request *request, Golden *golden);

/* Every golden input through the session, against the golden outputs. Returns whether all are good enough. */
bool check_golden(const Request *request, const Runtime *runtime, Session *session, Golden *golden);

#endif
