/* LiteRT through the C API of libLiteRt.so, out of the ai-edge-litert wheel: `.tflite` on the CPU, with XNNPACK.
 *
 * Supported: 2.2 and 2.3. The API is no stable one: 2.1 took options as C structures and had other parameters. The
 * library does not tell its version, so the wheel's metadata beside it are asked, and any other version is refused by
 * name; where there are none, the functions that it has must do.
 *
 * The number of threads is an opaque option: the identifier "xnnpack" and a line of TOML, `num_threads = N`. The types
 * in litert_api.h are those of litert_model_types.h and litert_layout.h, as far as they are used. The profiler is one more:
 * "runtime_options_string", `enable_profiling = true`. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "failure.h"
#include "litert_api.h"
#include "runtime.h"

typedef struct {
  Handle compiled, profiler; /* the latter if it was asked for */
  size_t inputs_count, outputs_count;
  Handle inputs[MAX_TENSORS], outputs[MAX_TENSORS];           /* buffers, in the signature's order */
  size_t input_position[MAX_TENSORS], output_position[MAX_TENSORS]; /* of the model's order in the signature's */
} State;

static DType element_type(int type, const char *name) {
  switch (type) {
    case 1: return DTYPE_FLOAT32;
    case 2: return DTYPE_INT32;
    case 3: return DTYPE_UINT8;
    case 4: return DTYPE_INT64;
    case 6: return DTYPE_BOOL;
    case 7: return DTYPE_INT16;
    case 9: return DTYPE_INT8;
    case 10: return DTYPE_FLOAT16;
    case 11: return DTYPE_FLOAT64;
    case 13: return DTYPE_UINT64;
    case 16: return DTYPE_UINT32;
    case 17: return DTYPE_UINT16;
    default: fail("failed", "the tensor %s has LiteRT's element type %d, which this runner cannot fill", name, type);
  }
}

static RankedType describe(Handle handle, Tensor *tensor) {
  RankedType type = {0};
  int quantization = 0;
  PerTensor per_tensor;
  PerChannel per_channel;
  litert_check(litert.GetTensorName(handle, &tensor->name), "name a tensor");
  litert_check(litert.GetRankedTensorType(handle, &type), "describe a tensor");
  if (type.rank > MAX_RANK) fail("failed", "the tensor %s has %u dimensions", tensor->name, type.rank);
  tensor->dtype = element_type(type.element_type, tensor->name);
  tensor->rank = (int)type.rank;
  for (unsigned i = 0; i < type.rank; i++) tensor->shape[i] = type.dimensions[i];
  tensor_finish(tensor);
  litert_check(litert.GetQuantizationTypeId(handle, &quantization), "describe a tensor");
  if (quantization == PER_TENSOR) {
    litert_check(litert.GetPerTensorQuantization(handle, &per_tensor), "describe a tensor");
    tensor->quantized = true;
    tensor->scale = per_tensor.scale;
    tensor->zero_point = per_tensor.zero_point;
  } else if (quantization == PER_CHANNEL) {
    litert_check(litert.GetPerChannelQuantization(handle, &per_channel), "describe a tensor");
    if (per_channel.channels != 1) return type;
    tensor->quantized = true;
    tensor->scale = per_channel.scales[0];
    tensor->zero_point = per_channel.zero_points[0];
  }
  return type;
}

/* One side of a signature: how many tensors, how they are called, which they are. */
typedef struct {
  Status (*signature_count)(Handle, size_t *);
  Status (*signature_name)(Handle, size_t, const char **);
  Status (*signature_tensor)(Handle, size_t, Handle *);
  Status (*subgraph_count)(Handle, size_t *);
  Status (*subgraph_tensor)(Handle, size_t, Handle *);
  Status (*requirements)(Handle, size_t, size_t, Handle *);
} Side;

/* Which tensor of the signature is the model's i-th: by the bindings' names, or else by the order in the file. */
static void order(const Side *side, Handle signature, size_t count, const char *const *names, size_t names_count,
                  size_t *positions) {
  const char *known[MAX_TENSORS];
  Handle tensors[MAX_TENSORS], subgraph, tensor;
  size_t in_file = 0, named = 0;
  for (size_t i = 0; i < count; i++) {
    litert_check(side->signature_name(signature, i, &known[i]), "name a tensor");
    litert_check(side->signature_tensor(signature, i, &tensors[i]), "find a tensor");
  }
  for (size_t i = 0; i < names_count && names_count == count; i++) {
    int position = name_position(known, count, names[i]);
    if (position >= 0) positions[named++] = (size_t)position;
  }
  if (named == count) return;
  litert_check(litert.GetSignatureSubgraph(signature, &subgraph), "find its main graph");
  litert_check(side->subgraph_count(subgraph, &in_file), "count its tensors");
  if (in_file != count) fail("failed", "its signature has %zu tensors and its graph has %zu", count, in_file);
  for (size_t i = 0; i < count; i++) {
    litert_check(side->subgraph_tensor(subgraph, i, &tensor), "find a tensor");
    size_t k = 0;
    while (k < count && tensors[k] != tensor) k++;
    if (k == count) fail("failed", "its signature does not name all tensors of its graph");
    positions[i] = k;
  }
}

static size_t prepare(const Side *side, Handle environment, Handle compiled, Handle signature, Tensor *tensors,
                      const char *const *names, size_t names_count, Handle *buffers, size_t *positions) {
  size_t count = 0, bytes = 0;
  Handle handle, requirements;
  litert_check(side->signature_count(signature, &count), "count its tensors");
  if (count > MAX_TENSORS) fail("failed", "the model has %zu inputs or outputs; %d are the most", count, MAX_TENSORS);
  if (names_count != 0 && names_count != count)
    fail("failed", "the model has %zu inputs or outputs where its manifest has %zu", count, names_count);
  order(side, signature, count, names, names_count, positions);
  for (size_t i = 0; i < count; i++) {
    size_t position = positions[i];
    litert_check(side->signature_tensor(signature, position, &handle), "find a tensor");
    RankedType type = describe(handle, &tensors[i]);
    litert_check(side->requirements(compiled, 0, position, &requirements), "tell a buffer's requirements");
    litert_check(litert.CreateManagedTensorBufferFromRequirements(environment, &type, requirements, &buffers[position]),
          "make a buffer");
    litert_check(litert.GetTensorBufferPackedSize(buffers[position], &bytes), "tell a buffer's size");
    if (bytes != tensors[i].bytes)
      fail("failed", "the tensor %s takes %zu bytes where its shape says %zu", tensors[i].name, bytes,
           tensors[i].bytes);
  }
  return count;
}

static void set_option(Handle options, const char *identifier, char *toml, const char *what) {
  Handle opaque;
  litert_check(litert.CreateOpaqueOptions(identifier, toml, free, &opaque), what);
  litert_check(litert.AddOpaqueOptions(options, opaque), what);
}

static void load(Session *session, const char *path, int threads, const Bindings *bindings, bool profiled) {
  State *state = allocate(1, sizeof *state);
  Handle environment, model, options, signature, compiled;
  size_t signatures = 0;
  char *toml = allocate(1, 40);
  snprintf(toml, 40, "num_threads = %d\n", threads);
  litert_check(litert.CreateEnvironment(0, NULL, &environment), "start");
  litert_check(litert.CreateModelFromFile(environment, path, &model), "read the model");
  litert_check(litert.CreateOptions(&options), "make options");
  litert_check(litert.SetOptionsHardwareAccelerators(options, CPU_ACCELERATOR), "choose the CPU");
  set_option(options, "xnnpack", toml, "set the number of threads");
  if (profiled) {
    char *on = allocate(1, 40);
    snprintf(on, 40, "enable_profiling = true\n");
    set_option(options, "runtime_options_string", on, "switch its profiler on");
  }
  litert_check(litert.CreateCompiledModel(environment, model, options, &compiled), "prepare the model");
  litert_check(litert.GetNumModelSignatures(model, &signatures), "count its signatures");
  if (signatures == 0) fail("failed", "the model has no signature");
  litert_check(litert.GetModelSignature(model, 0, &signature), "find its signature");
  const Side in = {litert.GetNumSignatureInputs, litert.GetSignatureInputName, litert.GetSignatureInputTensorByIndex,
                   litert.GetNumSubgraphInputs, litert.GetSubgraphInput, litert.GetCompiledModelInputBufferRequirements};
  const Side out = {litert.GetNumSignatureOutputs, litert.GetSignatureOutputName, litert.GetSignatureOutputTensorByIndex,
                    litert.GetNumSubgraphOutputs, litert.GetSubgraphOutput, litert.GetCompiledModelOutputBufferRequirements};
  state->inputs_count = session->inputs_count =
      prepare(&in, environment, compiled, signature, session->inputs, bindings->inputs, bindings->inputs_count,
              state->inputs, state->input_position);
  state->outputs_count = session->outputs_count =
      prepare(&out, environment, compiled, signature, session->outputs, bindings->outputs, bindings->outputs_count,
              state->outputs, state->output_position);
  if (profiled) litert_check(litert.CompiledModelGetProfiler(compiled, &state->profiler), "give its profiler");
  state->compiled = compiled;
  session->state = state;
}

static void litert_load(Session *session, const char *path, int threads, const Bindings *bindings) {
  load(session, path, threads, bindings, false);
}

static void litert_load_profiled(Session *session, const char *path, int threads, const Bindings *bindings) {
  load(session, path, threads, bindings, true);
}

static void litert_set_input(Session *session, size_t i, const void *data) {
  State *state = session->state;
  Handle buffer = state->inputs[state->input_position[i]];
  void *memory;
  litert_check(litert.LockTensorBuffer(buffer, &memory, LOCK_WRITE), "open an input");
  memcpy(memory, data, session->inputs[i].bytes);
  litert_check(litert.UnlockTensorBuffer(buffer), "close an input");
}

static void litert_invoke(void *session) {
  State *state = ((Session *)session)->state;
  litert_check(litert.RunCompiledModel(state->compiled, 0, state->inputs_count, state->inputs, state->outputs_count, state->outputs),
        "run the model");
}

static void litert_get_output(Session *session, size_t i, void *data) {
  State *state = session->state;
  Handle buffer = state->outputs[state->output_position[i]];
  void *memory;
  litert_check(litert.LockTensorBuffer(buffer, &memory, LOCK_READ), "open an output");
  memcpy(data, memory, session->outputs[i].bytes);
  litert_check(litert.UnlockTensorBuffer(buffer), "close an output");
}

static void litert_profile_begin(Session *session) {
  State *state = session->state;
  litert_check(litert.StartProfiler(state->profiler), "start its profiler");
}

/* An operator of the graph, or one within a delegate's partition; the partition as a whole would count them twice. */
static size_t litert_profile_end(Session *session, OperatorCall **calls) {
  enum { OPERATOR = 2, WITHIN_DELEGATE = 8 };
  State *state = session->state;
  int events_count = 0;
  size_t count = 0;
  litert_check(litert.StopProfiler(state->profiler), "stop its profiler");
  litert_check(litert.GetNumProfilerEvents(state->profiler, &events_count), "count what its profiler saw");
  if (events_count < 0) fail("failed", "LiteRT's profiler saw %d events", events_count);
  ProfilerEvent *events = allocate((size_t)events_count, sizeof *events);
  litert_check(litert.GetProfilerEvents(state->profiler, events_count, events), "tell what its profiler saw");
  *calls = allocate((size_t)events_count, sizeof **calls);
  for (int i = 0; i < events_count; i++) {
    const ProfilerEvent *event = &events[i];
    if (!(event->kind & (OPERATOR | WITHIN_DELEGATE))) continue;
    (*calls)[count++] = (OperatorCall){.key = {(uint64_t)event->kind, event->subgraph, event->index},
                                       .name = event->tag != NULL ? event->tag : "?",
                                       .ns = (int64_t)event->us * 1000};
  }
  free(events);
  return count;
}

const Runtime litert_runtime = {"litert",
                                "ai_edge_litert",
                                litert_open,
                                litert_load,
                                litert_set_input,
                                litert_invoke,
                                litert_get_output,
                                NULL,
                                "LiteRT's profiler, in whole microseconds",
                                litert_load_profiled,
                                litert_profile_begin,
                                litert_profile_end};
