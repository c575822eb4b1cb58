// A card that computes nothing: the CUDA runtime, and what of cuBLAS and cuDNN PyTorch calls, loaded before NVIDIA's.
//
// Memory, streams, events and copies are kept as a real card would; kernels, GEMMs and convolutions leave their output
// as it is. Every access of a copy or a GEMM to device memory is checked: two of them, one of which writes, must be
// ordered by stream, event or a waiting host (vector clocks). So must a page-locked source and its next change.
//
// FAKE_MEMORY bytes of the card; FAKE_LOCKABLE bytes that may be page-locked; FAKE_NO_SEGMENTS=1 a driver that cannot
// map segments; FAKE_SKIP=1 moves no bytes of large copies; FAKE_REPORT the file that is told at the end.
#include "card.h"
#include "libraries.h"

API long fake_races() { LOCK; return card().counts["race"].first; }

// --- kernels: launched into the void
API void** __cudaRegisterFatBinary(void*) { static void* handle; return &handle; }
API unsigned __cudaPushCallConfiguration(dim3 grid, dim3 block, size_t shared, cudaStream_t stream) { pushed = {grid, block, shared, stream}; return 0; }
API cudaError_t __cudaPopCallConfiguration(dim3* grid, dim3* block, size_t* shared, void* stream) {
  *grid = pushed.grid, *block = pushed.block, *shared = pushed.shared, *(cudaStream_t*)stream = pushed.stream;
  return cudaSuccess;
}
API cudaError_t __cudaGetKernel(cudaKernel_t* kernel, const void* function) { *kernel = (cudaKernel_t)function; return cudaSuccess; }
static cudaError_t launch(cudaStream_t stream) { LOCK; tick(stream_of(stream)); count("launch"); return cudaSuccess; }
API cudaError_t __cudaLaunchKernel(cudaKernel_t, dim3, dim3, void**, size_t, cudaStream_t stream) { return launch(stream); }
API cudaError_t cudaLaunchKernel(const void*, dim3, dim3, void**, size_t, cudaStream_t stream) { return launch(stream); }
API cudaError_t cudaLaunchKernelExC(const cudaLaunchConfig_t* config, const void*, void**) { return launch(config->stream); }
API cudaError_t cudaStreamAddCallback(cudaStream_t stream, cudaStreamCallback_t call, void* data, unsigned) { call(stream, cudaSuccess, data); return cudaSuccess; }
API cudaError_t cudaFuncGetAttributes(cudaFuncAttributes* a, const void*) {
  *a = {};
  a->maxThreadsPerBlock = 1024, a->numRegs = 32, a->binaryVersion = a->ptxVersion = 86;
  return cudaSuccess;
}
API cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int* blocks, const void*, int, size_t, unsigned) { *blocks = 2; return cudaSuccess; }

// --- one card, of the kind sm_86
API cudaError_t cudaGetDeviceCount(int* cards) { *cards = 1; return cudaSuccess; }
API cudaError_t cudaGetDevice(int* index) { *index = 0; return cudaSuccess; }
API cudaError_t cudaDriverGetVersion(int* version) { *version = 13000; return cudaSuccess; }
API cudaError_t cudaRuntimeGetVersion(int* version) { *version = 13000; return cudaSuccess; }
API cudaError_t cudaGetDeviceProperties(cudaDeviceProp* p, int) {
  *p = {};
  strcpy(p->name, "a card that is not there");
  p->totalGlobalMem = card().memory, p->major = 8, p->minor = 6, p->multiProcessorCount = 82, p->warpSize = 32;
  p->maxThreadsPerBlock = 1024, p->maxThreadsPerMultiProcessor = 1536, p->maxBlocksPerMultiProcessor = 16;
  p->regsPerBlock = p->regsPerMultiprocessor = 65536, p->l2CacheSize = 6 << 20;
  p->sharedMemPerBlock = 49152, p->sharedMemPerBlockOptin = 101376, p->sharedMemPerMultiprocessor = 102400;
  for (int i = 0; i < 3; i++) p->maxThreadsDim[i] = 1024, p->maxGridSize[i] = i ? 65535 : 0x7fffffff;
  p->unifiedAddressing = p->canMapHostMemory = p->concurrentKernels = 1, p->asyncEngineCount = 2, p->textureAlignment = 512;
  return cudaSuccess;
}
API cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr name, int) {
  static const std::map<int, int> known{
      {cudaDevAttrMultiProcessorCount, 82}, {cudaDevAttrMaxThreadsPerBlock, 1024}, {cudaDevAttrWarpSize, 32},
      {cudaDevAttrMaxThreadsPerMultiProcessor, 1536}, {cudaDevAttrMaxSharedMemoryPerBlock, 49152},
      {cudaDevAttrMaxSharedMemoryPerBlockOptin, 101376}, {cudaDevAttrMaxSharedMemoryPerMultiprocessor, 102400},
      {cudaDevAttrComputeCapabilityMajor, 8}, {cudaDevAttrComputeCapabilityMinor, 6}, {cudaDevAttrMaxGridDimX, 0x7fffffff},
      {cudaDevAttrMaxGridDimY, 65535}, {cudaDevAttrMaxGridDimZ, 65535}, {cudaDevAttrL2CacheSize, 6 << 20}};
  auto found = known.find(name);
  *value = found == known.end() ? 1 : found->second;
  return cudaSuccess;
}
API cudaError_t cudaDeviceGetPCIBusId(char* text, int size, int) { snprintf(text, size, "0000:01:00.0"); return cudaSuccess; }
API cudaError_t cudaDeviceCanAccessPeer(int* can, int, int) { *can = 0; return cudaSuccess; }
API cudaError_t cudaDeviceGetStreamPriorityRange(int* least, int* most) { *least = 0, *most = -5; return cudaSuccess; }
API cudaError_t cudaDeviceSynchronize() { LOCK; all_wait(); return cudaSuccess; }
API cudaError_t cudaGetLastError() { LOCK; auto code = card().error; card().error = cudaSuccess; return code; }
API cudaError_t cudaPeekAtLastError() { return card().error; }
API const char* cudaGetErrorString(cudaError_t code) { return code == cudaErrorMemoryAllocation ? "out of memory" : "an error of the card"; }
API const char* cudaGetErrorName(cudaError_t) { return "cudaError"; }

// --- memory
API cudaError_t cudaMalloc(void** at, size_t bytes) {
  LOCK;
  bytes = (bytes + PAGE - 1) / PAGE * PAGE;
  if (!take(bytes) || !(*at = map_pages(bytes))) return failed(cudaErrorMemoryAllocation);
  card().device[(char*)*at] = bytes;
  return cudaSuccess;
}
API cudaError_t cudaFree(void* at) {
  LOCK;
  auto found = card().device.find((char*)at);
  if (found == card().device.end()) return at ? failed(cudaErrorInvalidValue) : cudaSuccess;
  all_wait();
  forget(found->first, found->first + found->second);
  card().used -= found->second;
  munmap(at, found->second);
  card().device.erase(found);
  return cudaSuccess;
}
API cudaError_t cudaMemGetInfo(size_t* free, size_t* total) { LOCK; *total = card().memory, *free = card().memory - card().used; return cudaSuccess; }
API cudaError_t cudaHostAlloc(void** at, size_t bytes, unsigned) {
  LOCK;
  *at = map_pages(bytes);
  return lock_pages(*at, bytes) ? cudaSuccess : failed(cudaErrorMemoryAllocation);
}
API cudaError_t cudaHostRegister(void* at, size_t bytes, unsigned) {
  LOCK;
  if (within(card().host, at)) return failed(cudaErrorHostMemoryAlreadyRegistered);
  return lock_pages(at, bytes) ? cudaSuccess : failed(cudaErrorMemoryAllocation);
}
API cudaError_t cudaHostUnregister(void* at) {
  LOCK;
  auto found = card().host.find((char*)at);
  if (found == card().host.end()) return failed(cudaErrorHostMemoryNotRegistered);
  for (auto& one : card().sent)
    if (found->first <= one.from && one.from < found->first + found->second && !knows(card().host_seen, one.stream, one.at))
      race("giving page-locked memory back", "a copy from it");
  card().locked -= found->second;
  card().host.erase(found);
  return cudaSuccess;
}
API cudaError_t cudaFreeHost(void* at) { LOCK; cudaHostUnregister(at); return cudaSuccess; }
API cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* a, const void* at) {
  LOCK;
  *a = {};
  a->type = within(card().device, at) ? cudaMemoryTypeDevice : within(card().host, at) ? cudaMemoryTypeHost : cudaMemoryTypeUnregistered;
  a->devicePointer = (void*)at;
  return cudaSuccess;
}
API cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind, cudaStream_t stream) { return copy(to, from, bytes, stream, false); }
API cudaError_t cudaMemcpy(void* to, const void* from, size_t bytes, cudaMemcpyKind) { return copy(to, from, bytes, nullptr, true); }
API cudaError_t cudaMemsetAsync(void* at, int value, size_t bytes, cudaStream_t handle) {
  LOCK;
  auto* stream = stream_of(handle);
  touch(at, bytes, stream, tick(stream), true, "a memset");
  if (!(card().skip && bytes > LARGE)) memset(at, value, bytes);
  return cudaSuccess;
}
API cudaError_t cudaGetSymbolAddress(void** at, const void*) { static char symbol[1 << 16]; *at = symbol; return cudaSuccess; }

// --- streams and events
static cudaError_t make_stream(cudaStream_t* handle) {
  LOCK;
  auto& all = card().streams;
  all.push_back(new Stream{(int)all.size(), {}});
  *handle = (cudaStream_t)all.back();
  return cudaSuccess;
}
API cudaError_t cudaStreamCreateWithFlags(cudaStream_t* handle, unsigned) { return make_stream(handle); }
API cudaError_t cudaStreamCreateWithPriority(cudaStream_t* handle, unsigned, int) { return make_stream(handle); }
API cudaError_t cudaStreamSynchronize(cudaStream_t handle) { LOCK; host_waits(stream_of(handle)->seen); return cudaSuccess; }
API cudaError_t cudaStreamIsCapturing(cudaStream_t, cudaStreamCaptureStatus* status) { *status = cudaStreamCaptureStatusNone; return cudaSuccess; }
API cudaError_t cudaStreamGetCaptureInfo(cudaStream_t, cudaStreamCaptureStatus* status, unsigned long long*, cudaGraph_t*, const cudaGraphNode_t**, const cudaGraphEdgeData**, size_t*) { *status = cudaStreamCaptureStatusNone; return cudaSuccess; }
API cudaError_t cudaStreamWaitEvent(cudaStream_t handle, cudaEvent_t event, unsigned) {
  LOCK;
  join(stream_of(handle)->seen, ((Event*)event)->seen);
  return cudaSuccess;
}
API cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned flags) {
  *event = (cudaEvent_t) new Event{{}, (flags & cudaEventBlockingSync) != 0};
  return cudaSuccess;
}
API cudaError_t cudaEventCreate(cudaEvent_t* event) { return cudaEventCreateWithFlags(event, 0); }
API cudaError_t cudaEventDestroy(cudaEvent_t event) { delete (Event*)event; return cudaSuccess; }
API cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t handle) {
  LOCK;
  auto* stream = stream_of(handle);
  tick(stream);
  ((Event*)event)->seen = stream->seen;
  return cudaSuccess;
}
API cudaError_t cudaEventRecordWithFlags(cudaEvent_t event, cudaStream_t handle, unsigned) { return cudaEventRecord(event, handle); }
API cudaError_t cudaEventQuery(cudaEvent_t event) {
  LOCK;
  auto& seen = ((Event*)event)->seen;
  for (size_t i = 0; i < seen.size(); i++)
    if (seen[i] && !knows(card().host_seen, i, seen[i])) return failed(cudaErrorNotReady);
  return cudaSuccess;
}
API cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  LOCK;
  count(((Event*)event)->blocking ? "wait asleep" : "wait spinning");
  host_waits(((Event*)event)->seen);
  return cudaSuccess;
}
API cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t, cudaEvent_t) { *milliseconds = 1; return cudaSuccess; }
