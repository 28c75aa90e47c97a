#include "answer.h"

#include <stdlib.h>

#include "clock.h"
#include "events.h"
#include "failure.h"
#include "session.h"
#include "supervise.h"

/* The outputs of a batch, each tensor's samples one after another, as the payload stores them. */
typedef struct {
  unsigned char *outputs[MAX_TENSORS];
  size_t count, room; /* samples */
} Batch;

static Batch batch_new(const Session *session, size_t wanted) {
  Batch batch = {.room = wanted};
  size_t sample_bytes = 0;
  for (size_t i = 0; i < session->outputs_count; i++) sample_bytes += session->outputs[i].bytes;
  if (sample_bytes > 0 && batch.room > MAX_BATCH_BYTES / sample_bytes) batch.room = MAX_BATCH_BYTES / sample_bytes;
  if (batch.room == 0) batch.room = 1;
  for (size_t i = 0; i < session->outputs_count; i++)
    batch.outputs[i] = allocate(batch.room, session->outputs[i].bytes);
  return batch;
}

static void batch_add(Batch *batch, const Runtime *runtime, Session *session) {
  unsigned char *at[MAX_TENSORS];
  for (size_t i = 0; i < session->outputs_count; i++)
    at[i] = batch->outputs[i] + batch->count * session->outputs[i].bytes;
  get_stored(runtime, session, at);
  batch->count++;
}

static void emit_batch(const Batch *batch, const Session *session, size_t first) {
  event_begin("answers");
  event_integer("first", (int64_t)first);
  event_integer("count", (int64_t)batch->count);
  event_open("outputs", '[');
  for (size_t i = 0; i < session->outputs_count; i++) {
    const Tensor *tensor = &session->outputs[i];
    event_open(NULL, '{');
    event_string("dtype", dtype_name(tensor->dtype));
    event_integers("shape", tensor->shape, (size_t)tensor->rank);
    tensor->quantized ? event_real("scale", (double)tensor->scale) : event_null("scale");
    tensor->quantized ? event_integer("zero_point", tensor->zero_point) : event_null("zero_point");
    event_bool("packed", false);
    event_bytes("data", batch->outputs[i], batch->count * tensor->bytes);
    event_close('}');
  }
  event_close(']');
  event_end();
}

void answer_samples(const SamplesAsked *asked, const Runtime *runtime, Session *session) {
  Npy inputs[MAX_TENSORS];
  supervisor_stage("reading the samples");
  if (asked->inputs_count == 0) fail("failed", "the request names no inputs");
  load_arrays(asked->folder, asked->inputs, asked->inputs_count, inputs);
  check_arrays(session->inputs, session->inputs_count, inputs, asked->inputs_count, "sample input");
  size_t first = (size_t)asked->first, end = first + (size_t)asked->count;
  if (end > inputs[0].shape[0]) fail("failed", "there are no samples %zu to %zu", first, end);
  if (session->outputs_count == 0) fail("failed", "the model has no output");
  supervisor_stage("running the samples");
  Batch batch = batch_new(session, asked->batch < asked->count ? (size_t)asked->batch : (size_t)asked->count);
  int64_t began = clock_ns();
  for (size_t k = first; k < end; k++) {
    set_sample(runtime, session, inputs, k);
    runtime->invoke(session);
    batch_add(&batch, runtime, session);
    if (batch.count == batch.room || k + 1 == end || clock_ns() - began > FLUSH_MS * INT64_C(1000000)) {
      emit_batch(&batch, session, k + 1 - batch.count);
      batch.count = 0;
      began = clock_ns();
    }
    heartbeat();
  }
  for (size_t i = 0; i < session->outputs_count; i++) free(batch.outputs[i]);
  for (size_t i = 0; i < asked->inputs_count; i++) npy_free(&inputs[i]);
}
