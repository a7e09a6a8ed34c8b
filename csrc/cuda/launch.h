// How kernels are started.
#pragma once

#include <cuda_runtime.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>

namespace rotacube::cuda {

constexpr int kThreads = 256;  // of a block
constexpr int kWarps = kThreads / 32;

// Starts a kernel on `blocks` blocks. More than 48 KB of shared memory must be asked for.
template <typename... Parameters, typename... Arguments>
cudaError_t launch(void (*kernel)(Parameters...), int64_t blocks, int threads, int64_t shared_bytes,
                   cudaStream_t stream, const Arguments&... arguments) {
  if (blocks == 0) return cudaSuccess;
  if (blocks >= int64_t{1} << 31) return cudaErrorInvalidValue;
  if (shared_bytes > 48 * 1024) {
    const cudaError_t error =
        cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(shared_bytes));
    if (error != cudaSuccess) return error;
  }
  cudaLaunchConfig_t config{};
  config.gridDim = dim3(static_cast<unsigned int>(blocks));
  config.blockDim = dim3(static_cast<unsigned int>(threads));
  config.dynamicSmemBytes = static_cast<std::size_t>(shared_bytes);
  config.stream = stream;
  return cudaLaunchKernelEx(&config, kernel, arguments...);
}

// Blocks with a thread for each item, but at most so many, and at least one: for kernels that walk over the items.
inline int64_t blocks_for(int64_t items, int64_t most) {
  return std::max<int64_t>(1, std::min((items + kThreads - 1) / kThreads, most));
}

// One thread an element.
template <typename... Parameters, typename... Arguments>
cudaError_t launch_each(void (*kernel)(Parameters...), int64_t count, cudaStream_t stream,
                        const Arguments&... arguments) {
  return launch(kernel, (count + kThreads - 1) / kThreads, kThreads, 0, stream, arguments...);
}

__device__ inline int64_t thread_number() {
  return static_cast<int64_t>(blockIdx.x) * kThreads + static_cast<int64_t>(threadIdx.x);
}

}  // namespace rotacube::cuda
