#include "golden.h"

#include <stdlib.h>

#include "compare.h"
#include "events.h"
#include "failure.h"
#include "supervise.h"

bool check_golden(const Request *request, const Runtime *runtime, Session *session, Golden *golden) {
  Comparison results[MAX_TENSORS];
  double *got[MAX_TENSORS], *expected[MAX_TENSORS];
  bool passed = true;
  supervisor_stage("running the golden inputs");
  load_arrays(request->artifact, request->golden.outputs, request->golden.outputs_count, golden->outputs);
  check_arrays(session->outputs, session->outputs_count, golden->outputs, request->golden.outputs_count,
               "golden output");
  size_t samples = golden->inputs[0].shape[0];
  if (session->outputs_count == 0) fail("failed", "the model has no output");
  if (golden->outputs[0].shape[0] != samples) fail("failed", "there are not as many golden outputs as inputs");
  for (size_t i = 0; i < session->outputs_count; i++) {
    const Tensor *tensor = &session->outputs[i];
    size_t row = tensor->rank >= 1 ? (size_t)tensor->shape[tensor->rank - 1] : 0;
    results[i] = comparison_new(row);
    got[i] = allocate(tensor->count, sizeof(double));
    expected[i] = allocate(tensor->count, sizeof(double));
  }
  for (size_t k = 0; k < samples; k++) {
    set_sample(runtime, session, golden->inputs, k);
    runtime->invoke(session);
    get_sample(runtime, session, got);
    for (size_t i = 0; i < session->outputs_count; i++) {
      size_t count = session->outputs[i].count;
      for (size_t e = 0; e < count; e++)
        expected[i][e] = dtype_get(golden->outputs[i].dtype, golden->outputs[i].data, k * count + e);
      comparison_add(&results[i], expected[i], got[i], count);
    }
    heartbeat();
  }
  event_begin("golden");
  event_open("outputs", '[');
  for (size_t i = 0; i < session->outputs_count; i++) {
    passed = passed && comparison_passes(&results[i], request->min_snr_db);
    emit_comparison(&results[i]);
    free(got[i]);
    free(expected[i]);
    npy_free(&golden->outputs[i]);
  }
  event_close(']');
  event_real("min_snr_db", request->min_snr_db);
  event_bool("passed", passed);
  event_end();
  return passed;
}

void load_inputs(const Request *request, Golden *golden) {
  supervisor_stage("reading the golden inputs");
  if (request->golden.inputs_count == 0) fail("failed", "the artifact has no golden input");
  load_arrays(request->artifact, request->golden.inputs, request->golden.inputs_count, golden->inputs);
}
