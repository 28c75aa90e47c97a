/* The functions of libLiteRt.so that are called, and the types that they take. See runtime_litert.c. */
#ifndef EDGEKIT_LITERT_API_H
#define EDGEKIT_LITERT_API_H

#include "runtime.h"

typedef struct LiteRtHandle *Handle;
typedef int Status;

enum { CPU_ACCELERATOR = 1, LOCK_READ = 0, LOCK_WRITE = 1, PER_TENSOR = 1, PER_CHANNEL = 2, LITERT_MAX_RANK = 8 };

typedef struct {
  int element_type;
  unsigned int rank : 7, has_strides : 1;
  int32_t dimensions[LITERT_MAX_RANK];
  uint32_t strides[LITERT_MAX_RANK];
} RankedType;
_Static_assert(sizeof(RankedType) == 72, "as litert_layout.h asserts");

typedef struct {
  float scale;
  int64_t zero_point;
} PerTensor;

typedef struct {
  int32_t dimension;
  uint64_t channels;
  float *scales;
  int64_t *zero_points;
} PerChannel;

/* litert_profiler_event.h: times in us, and six sizes of memory that nobody fills in here. */
typedef struct {
  const char *tag;
  int kind;
  uint64_t start_us, us;
  size_t memory[6];
  uint64_t index, subgraph;
  int source;
} ProfilerEvent;

/* clang-format off */
#define FUNCTIONS(F) \
  F(CreateEnvironment, (int, const void *, Handle *)) \
  F(CreateModelFromFile, (Handle, const char *, Handle *)) \
  F(CreateOptions, (Handle *)) \
  F(SetOptionsHardwareAccelerators, (Handle, int)) \
  F(CreateOpaqueOptions, (const char *, void *, void (*)(void *), Handle *)) \
  F(AddOpaqueOptions, (Handle, Handle)) \
  F(CreateCompiledModel, (Handle, Handle, Handle, Handle *)) \
  F(GetNumModelSignatures, (Handle, size_t *)) \
  F(GetModelSignature, (Handle, size_t, Handle *)) \
  F(GetSignatureSubgraph, (Handle, Handle *)) \
  F(GetNumSignatureInputs, (Handle, size_t *)) \
  F(GetNumSignatureOutputs, (Handle, size_t *)) \
  F(GetSignatureInputName, (Handle, size_t, const char **)) \
  F(GetSignatureOutputName, (Handle, size_t, const char **)) \
  F(GetSignatureInputTensorByIndex, (Handle, size_t, Handle *)) \
  F(GetSignatureOutputTensorByIndex, (Handle, size_t, Handle *)) \
  F(GetNumSubgraphInputs, (Handle, size_t *)) \
  F(GetNumSubgraphOutputs, (Handle, size_t *)) \
  F(GetSubgraphInput, (Handle, size_t, Handle *)) \
  F(GetSubgraphOutput, (Handle, size_t, Handle *)) \
  F(GetTensorName, (Handle, const char **)) \
  F(GetRankedTensorType, (Handle, RankedType *)) \
  F(GetQuantizationTypeId, (Handle, int *)) \
  F(GetPerTensorQuantization, (Handle, PerTensor *)) \
  F(GetPerChannelQuantization, (Handle, PerChannel *)) \
  F(GetCompiledModelInputBufferRequirements, (Handle, size_t, size_t, Handle *)) \
  F(GetCompiledModelOutputBufferRequirements, (Handle, size_t, size_t, Handle *)) \
  F(CreateManagedTensorBufferFromRequirements, (Handle, const RankedType *, Handle, Handle *)) \
  F(GetTensorBufferPackedSize, (Handle, size_t *)) \
  F(LockTensorBuffer, (Handle, void **, int)) \
  F(UnlockTensorBuffer, (Handle)) \
  F(RunCompiledModel, (Handle, size_t, size_t, Handle *, size_t, Handle *)) \
  F(CompiledModelGetProfiler, (Handle, Handle *)) \
  F(StartProfiler, (Handle)) \
  F(StopProfiler, (Handle)) \
  F(GetNumProfilerEvents, (Handle, int *)) \
  F(GetProfilerEvents, (Handle, int, ProfilerEvent *))
/* clang-format on */

typedef struct {
#define DECLARE(name, parameters) Status(*name) parameters;
  FUNCTIONS(DECLARE)
#undef DECLARE
} LitertApi;

/* Filled in by `litert_open`. */
extern LitertApi litert;

/* `open` of the runtime. */
const char *litert_open(const JsonValue *libraries, char version[VERSION_BYTES]);

/* Fails the run for a status that is no success: "LiteRT cannot WHAT: ...". */
void litert_check(Status status, const char *what);

#endif
