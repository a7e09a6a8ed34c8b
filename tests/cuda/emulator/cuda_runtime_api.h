// CUDA's runtime, as far as the kernels need it, on the CPU: for tests on machines without a GPU.
//
// A block's threads are fibers (ucontext) which run one after the other up to the next barrier, forwards and backwards
// in turns, so that a missing barrier shows. Dynamic shared memory is a heap block of the exact size, filled with what
// is no number as floating point: AddressSanitizer sees each access outside of it. Blocks run one after the other.
#pragma once

#include <ucontext.h>

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <set>
#include <vector>

#define __global__
#define __device__
#define __host__
#define __shared__ static  // blocks run one after the other
#define __forceinline__ inline
#define __launch_bounds__(...)

struct uint3 {
  unsigned int x, y, z;
};
struct alignas(16) uint4 {
  unsigned int x, y, z, w;
};
struct alignas(8) uint2 {
  unsigned int x, y;
};
struct dim3 {
  unsigned int x, y, z;
  dim3(unsigned int x = 1, unsigned int y = 1, unsigned int z = 1) : x(x), y(y), z(z) {}
};

using cudaStream_t = void*;
enum cudaError_t { cudaSuccess = 0, cudaErrorInvalidValue = 1 };
enum cudaFuncAttribute { cudaFuncAttributeMaxDynamicSharedMemorySize };
enum cudaDeviceAttr { cudaDevAttrMaxSharedMemoryPerBlockOptin };

inline dim3 gridDim, blockDim;
inline uint3 blockIdx, threadIdx;  // of the thread that runs

namespace emulator {

[[noreturn]] inline void fail(const char* what) {
  std::fprintf(stderr, "CUDA emulator: %s\n", what);
  std::abort();
}

enum class State { kReady, kAtBlockBarrier, kAtWarpBarrier, kDone };

struct Copy {
  void* to;
  const void* from;
  std::size_t bytes;
  bool committed;
};

struct Thread {
  ucontext_t context;
  std::unique_ptr<char[]> stack;
  uint3 index;
  State state;
  uint64_t given;            // to the other lanes
  unsigned long operations;  // that all lanes of a warp must take part in
  std::vector<Copy> copies;  // asynchronous ones: they happen when they are waited for, not before
};

constexpr std::size_t kStack = 128 * 1024;

struct Machine {
  std::size_t shared_limit = 227 * 1024;  // what a block may ask for
  std::set<const void*> raised;           // kernels that may have more than 48 KB
  char* shared = nullptr;
  std::vector<Thread> threads;
  std::size_t count = 0, current = 0;
  ucontext_t scheduler;
  std::function<void()> body;
};

inline Machine& machine() {
  static Machine one;
  return one;
}

inline Thread& self() { return machine().threads[machine().current]; }

inline void stop_at(State state) {
  self().state = state;
  swapcontext(&self().context, &machine().scheduler);
}

inline void run_thread() {
  machine().body();
  if (!self().copies.empty()) fail("a thread ended before its asynchronous copies");
  stop_at(State::kDone);
}

// Lets go whom a barrier held: true where somebody can go on.
inline bool release() {
  Machine& m = machine();
  bool ready = false, all = true, any = false;
  for (std::size_t first = 0; first < m.count; first += 32) {
    const std::size_t last = first + 32 < m.count ? first + 32 : m.count;
    bool warp = true;
    for (std::size_t i = first; i < last; ++i) {
      warp = warp && m.threads[i].state == State::kAtWarpBarrier;
      all = all && (m.threads[i].state == State::kAtBlockBarrier || m.threads[i].state == State::kDone);
      any = any || m.threads[i].state == State::kAtBlockBarrier;
      if (m.threads[i].state != State::kDone && m.threads[i].operations != m.threads[first].operations) {
        fail("lanes of a warp took different numbers of matrix operations");
      }
    }
    for (std::size_t i = first; warp && i < last; ++i) m.threads[i].state = State::kReady;
    ready = ready || warp;
  }
  if (!all || !any) return ready;
  for (std::size_t i = 0; i < m.count; ++i) {
    if (m.threads[i].state == State::kDone) fail("a thread ended before a barrier that others wait at");
    m.threads[i].state = State::kReady;
  }
  return true;
}

inline void run_block() {
  Machine& m = machine();
  for (std::size_t i = 0; i < m.count; ++i) {
    Thread& thread = m.threads[i];
    if (!thread.stack) thread.stack.reset(new char[kStack]);
    const unsigned int at = static_cast<unsigned int>(i);
    thread.index = {at % blockDim.x, at / blockDim.x % blockDim.y, at / blockDim.x / blockDim.y};
    thread.state = State::kReady;
    thread.operations = 0;
    getcontext(&thread.context);
    thread.context.uc_stack.ss_sp = thread.stack.get();
    thread.context.uc_stack.ss_size = kStack;
    thread.context.uc_link = nullptr;
    makecontext(&thread.context, run_thread, 0);
  }
  for (bool forwards = true;; forwards = !forwards) {
    std::size_t done = 0;
    for (std::size_t i = 0; i < m.count; ++i) {
      m.current = forwards ? i : m.count - 1 - i;
      threadIdx = self().index;
      if (self().state == State::kReady) swapcontext(&m.scheduler, &self().context);
      done += self().state == State::kDone;
    }
    const bool ready = release();
    if (done == m.count) return;
    if (!ready) fail("deadlock: not all threads came to a barrier");
  }
}

inline void launch(dim3 grid, dim3 block, std::size_t shared_bytes, std::function<void()> body) {
  Machine& m = machine();
  gridDim = grid;
  blockDim = block;
  m.count = std::size_t{block.x} * block.y * block.z;
  m.threads.resize(m.count);
  m.body = std::move(body);
  for (unsigned int z = 0; z < grid.z; ++z) {
    for (unsigned int y = 0; y < grid.y; ++y) {
      for (unsigned int x = 0; x < grid.x; ++x) {
        blockIdx = {x, y, z};
        void* memory = nullptr;
        if (posix_memalign(&memory, 1024, shared_bytes + (shared_bytes == 0)) != 0) fail("no memory");
        std::memset(memory, 0xff, shared_bytes);
        m.shared = static_cast<char*>(memory);
        run_block();
        std::free(memory);
      }
    }
  }
}

// All lanes give a value; each reads another's.
inline uint64_t exchange(uint64_t value, unsigned int lane) {
  self().given = value;
  stop_at(State::kAtWarpBarrier);
  const uint64_t got = machine().threads[machine().current / 32 * 32 + lane % 32].given;
  stop_at(State::kAtWarpBarrier);
  return got;
}

inline void* shared_memory() { return machine().shared; }

}  // namespace emulator

inline void __syncthreads() { emulator::stop_at(emulator::State::kAtBlockBarrier); }
inline void __syncwarp(unsigned int = ~0u) { emulator::stop_at(emulator::State::kAtWarpBarrier); }

inline unsigned int __ballot_sync(unsigned int, int predicate) {
  unsigned int bits = 0;
  emulator::self().given = predicate != 0;
  emulator::stop_at(emulator::State::kAtWarpBarrier);
  const std::size_t first = emulator::machine().current / 32 * 32;
  for (unsigned int i = 0; i < 32; ++i)
    bits |= static_cast<unsigned int>(emulator::machine().threads[first + i].given) << i;
  emulator::stop_at(emulator::State::kAtWarpBarrier);
  return bits;
}

template <typename T>
T __shfl_xor_sync(unsigned int, T value, int mask) {
  uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof(T));
  bits = emulator::exchange(bits, static_cast<unsigned int>(emulator::machine().current) % 32 ^ mask);
  std::memcpy(&value, &bits, sizeof(T));
  return value;
}

template <typename T>
T __shfl_down_sync(unsigned int, T value, unsigned int delta) {
  uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof(T));
  const unsigned int lane = static_cast<unsigned int>(emulator::machine().current) % 32;
  bits = emulator::exchange(bits, lane + delta < 32 ? lane + delta : lane);
  std::memcpy(&value, &bits, sizeof(T));
  return value;
}

template <typename T>
T __ldg(const T* from) {
  return *from;
}

inline float __uint_as_float(unsigned int bits) {
  float value;
  std::memcpy(&value, &bits, sizeof(value));
  return value;
}

inline unsigned int __float_as_uint(float value) {
  unsigned int bits;
  std::memcpy(&bits, &value, sizeof(bits));
  return bits;
}

inline unsigned int __byte_perm(unsigned int x, unsigned int y, unsigned int selector) {
  const uint64_t bytes = static_cast<uint64_t>(y) << 32 | x;
  unsigned int out = 0;
  for (int i = 0; i < 4; ++i)
    out |= static_cast<unsigned int>(bytes >> (8 * (selector >> (4 * i) & 7)) & 0xff) << (8 * i);
  return out;
}

inline int __popc(unsigned int bits) { return __builtin_popcount(bits); }

struct cudaLaunchAttribute;
struct cudaLaunchConfig_t {
  dim3 gridDim, blockDim;
  std::size_t dynamicSmemBytes = 0;
  cudaStream_t stream = nullptr;
  cudaLaunchAttribute* attrs = nullptr;
  unsigned int numAttrs = 0;
};

template <typename... Parameters, typename... Arguments>
cudaError_t cudaLaunchKernelEx(const cudaLaunchConfig_t* config, void (*kernel)(Parameters...),
                               Arguments&&... arguments) {
  emulator::Machine& m = emulator::machine();
  const dim3 grid = config->gridDim, block = config->blockDim;
  const bool raised = m.raised.count(reinterpret_cast<const void*>(kernel)) != 0;
  if (config->dynamicSmemBytes > (raised ? m.shared_limit : 48 * 1024)) return cudaErrorInvalidValue;
  if (grid.x == 0 || grid.y == 0 || grid.z == 0 || grid.y > 65535 || grid.z > 65535) return cudaErrorInvalidValue;
  if (block.x * block.y * block.z == 0 || block.x * block.y * block.z > 1024) return cudaErrorInvalidValue;
  emulator::launch(grid, block, config->dynamicSmemBytes, [&] { kernel(arguments...); });
  return cudaSuccess;
}

template <typename Kernel>
cudaError_t cudaFuncSetAttribute(Kernel* kernel, cudaFuncAttribute, int bytes) {
  if (static_cast<std::size_t>(bytes) > emulator::machine().shared_limit) return cudaErrorInvalidValue;
  emulator::machine().raised.insert(reinterpret_cast<const void*>(kernel));
  return cudaSuccess;
}

inline cudaError_t cudaGetDevice(int* device) {
  *device = 0;
  return cudaSuccess;
}

inline cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr, int) {
  *value = static_cast<int>(emulator::machine().shared_limit);
  return cudaSuccess;
}

inline cudaError_t cudaGetLastError() { return cudaSuccess; }

inline cudaError_t cudaMemsetAsync(void* to, int value, std::size_t bytes, cudaStream_t) {
  std::memset(to, value, bytes);
  return cudaSuccess;
}
