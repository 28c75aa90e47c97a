/* Samples of the host's through the payload, and what it answers, batch by batch: the rules of edgekit/runner/answer.py. */
#ifndef EDGEKIT_ANSWER_H
#define EDGEKIT_ANSWER_H

#include "request.h"

enum { FLUSH_MS = 2000, MAX_BATCH_BYTES = 1 << 25 };

/* Runs the samples and writes `answers` events, in their order without gaps. A batch leaves when it is full, at the latest
 * FLUSH_MS after the one before, and before its outputs take more than MAX_BATCH_BYTES together. */
void answer_samples(const SamplesAsked *asked, const Runtime *runtime, Session *session);

#endif
