// The driver's calls for segments that grow, and what of cuBLAS and cuDNN must not be a mere stub. See fake_cuda.cpp.
#pragma once
#include "card.h"

namespace driver {

using Address = unsigned long long;

int reserve(Address* at, size_t bytes, size_t, Address, Address) { *at = (Address)map_pages(bytes); return *at ? 0 : 2; }
int create(Segment** segment, size_t bytes, const void*, Address) {
  LOCK;
  if (!take(bytes)) return 2;  // out of memory
  *segment = new Segment{bytes};
  return 0;
}
int release(Segment* segment) { LOCK; card().used -= segment->count; delete segment; return 0; }
int map(Address at, size_t bytes, size_t, Segment*, Address) { LOCK; card().device[(char*)at] = bytes; return 0; }
int permit(Address, size_t, const void*, size_t) { return card().no_segments ? 999 : 0; }  // unknown error, as under WSL
int unmap(Address at, size_t bytes) {
  LOCK;
  all_wait();
  forget((char*)at, (char*)at + bytes);
  card().device.erase((char*)at);
  madvise((void*)at, bytes, MADV_DONTNEED);
  return 0;
}
int granularity(size_t* bytes, const void*, int) { *bytes = PAGE; return 0; }
int attribute(int* value, int, int) { *value = 1; return 0; }
int context(void** handle) { *handle = (void*)1; return 0; }
int say(int, const char** text) { *text = "an error of the driver"; return 0; }
int nothing() { return 0; }

void* entry(const std::string& name) {
  static const std::map<std::string, void*> known{
      {"cuMemAddressReserve", (void*)reserve}, {"cuMemCreate", (void*)create}, {"cuMemRelease", (void*)release},
      {"cuMemMap", (void*)map}, {"cuMemUnmap", (void*)unmap}, {"cuMemSetAccess", (void*)permit},
      {"cuMemGetAllocationGranularity", (void*)granularity}, {"cuDeviceGetAttribute", (void*)attribute},
      {"cuCtxGetCurrent", (void*)context}, {"cuGetErrorString", (void*)say}};
  auto found = known.find(name);
  return found == known.end() ? (void*)nothing : found->second;
}

}  // namespace driver

API cudaError_t cudaGetDriverEntryPointByVersion(const char* name, void** at, unsigned, unsigned long long, cudaDriverEntryPointQueryResult* result) {
  *at = driver::entry(name);
  if (result) *result = cudaDriverEntryPointSuccess;
  return cudaSuccess;
}
API int cuCtxGetCurrent(void** handle) { return driver::context(handle); }
API int cuGetErrorString(int code, const char** text) { return driver::say(code, text); }
API int cuDevicePrimaryCtxGetState(int, unsigned* flags, int* active) { *flags = 0, *active = 1; return 0; }

// --- cuBLAS: which bytes a product reads and writes
static size_t width(int type) { return type == CUDA_R_32F ? 4 : type == CUDA_R_64F ? 8 : type == CUDA_R_8I ? 1 : 2; }
static size_t extent(long rows, long columns, long stride, int type) { return columns ? ((columns - 1) * stride + rows) * width(type) : 0; }
static int product(cudaStream_t handle, const void* a, size_t of_a, const void* b, size_t of_b, void* c, size_t of_c) {
  LOCK;
  auto* stream = stream_of(handle);
  unsigned long now = tick(stream);
  count("product");
  touch(a, of_a, stream, now, false, "a product's read");
  touch(b, of_b, stream, now, false, "a product's read");
  touch(c, of_c, stream, now, true, "a product's write");
  return 0;
}
API int cublasCreate_v2(cudaStream_t** handle) { *handle = new cudaStream_t{}; return 0; }
API int cublasSetStream_v2(cudaStream_t* handle, cudaStream_t stream) { *handle = stream; return 0; }
API int cublasGetMathMode(void*, int* mode) { *mode = 0; return 0; }
API int cublasGetPointerMode_v2(void*, int* mode) { *mode = 0; return 0; }
API size_t cublasLtGetVersion() { return 130000; }
API int cublasLtMatrixLayoutCreate(Layout** made, int type, unsigned long rows, unsigned long columns, long stride) {
  *made = new Layout{type, rows, columns, stride};
  return 0;
}
API int cublasLtMatrixLayoutDestroy(Layout* layout) { delete layout; return 0; }
API int cublasLtMatmulAlgoGetHeuristic(void*, void*, void*, void*, void*, void*, void*, int, char* result, int* found) {
  memset(result, 0, 80);
  *found = 1;
  return 0;
}
static size_t extent(const Layout* layout) { return extent(layout->rows, layout->columns, layout->stride, layout->type); }
API int cublasLtMatmul(void*, void*, const void*, const void* a, Layout* la, const void* b, Layout* lb, const void*, const void*,
                       Layout*, void* d, Layout* ld, const void*, void*, size_t, cudaStream_t stream) {
  return product(stream, a, extent(la), b, extent(lb), d, extent(ld));
}
static size_t operand(int turned, int rows, int columns, int stride, int type) {
  return turned ? extent(columns, rows, stride, type) : extent(rows, columns, stride, type);
}
API int cublasGemmEx(cudaStream_t* handle, int ta, int tb, int m, int n, int k, const void*, const void* a, int type_a, int lda,
                     const void* b, int type_b, int ldb, const void*, void* c, int type_c, int ldc, int, int) {
  return product(*handle, a, operand(ta, m, k, lda, type_a), b, operand(tb, k, n, ldb, type_b), c, extent(m, n, ldc, type_c));
}
API int cublasSgemm_v2(cudaStream_t* handle, int ta, int tb, int m, int n, int k, const float*, const float* a, int lda,
                       const float* b, int ldb, const float*, float* c, int ldc) {
  int type = CUDA_R_32F;
  return product(*handle, a, operand(ta, m, k, lda, type), b, operand(tb, k, n, ldb, type), c, extent(m, n, ldc, type));
}

// --- cuDNN: one engine for everything, no workspace
API int cudnnCreate(void** handle) { *handle = malloc(64); return 0; }
API size_t cudnnGetVersion() { return 92000; }
API size_t cudnnGetCudartVersion() { return 13000; }
API const char* cudnnGetErrorString(int) { return "an error of cuDNN"; }
API int cudnnGetProperty(int which, int* value) { *value = which == 0 ? 9 : which == 1 ? 20 : 0; return 0; }
API int cudnnBackendCreateDescriptor(int, void** made) { *made = calloc(1, 64); return 0; }
API int cudnnBackendDestroyDescriptor(void* made) { free(made); return 0; }
API int cudnnBackendGetAttribute(void*, int name, int type, long wanted, long* got, void* out) {
  constexpr int engines = 202, descriptor = 15, number = 3;
  long found = type == descriptor ? (name == engines ? 1 : std::min(wanted, 1l)) : type == number && out && wanted > 0;
  if (type == number && found) memset(out, 0, 8);
  if (got) *got = found;
  return 0;
}
API int cudnnBackendExecute(void*, void*, void*) { LOCK; tick(card().streams[0]); count("convolution"); return 0; }
