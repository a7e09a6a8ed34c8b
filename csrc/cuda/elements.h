// float32, bfloat16 and float16 in device code: single, and in packs of 16 bytes.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <cstdint>

#include "element.h"

namespace rotacube::cuda {

// Calls run(T{}) with the type.
template <typename Run>
auto with_element(Element element, const Run& run) {
  if (element == Element::kFloat) return run(float());
  if (element == Element::kBFloat16) return run(__nv_bfloat16());
  return run(__half());
}

// Calls run(T{}, W{}): weights are of the input's type, or float32.
template <typename Run>
auto with_elements(Element element, bool wide_weight, const Run& run) {
  return with_element(element, [&](auto type) { return wide_weight ? run(type, float()) : run(type, type); });
}

__device__ inline float widen(float value) { return value; }
__device__ inline float widen(__nv_bfloat16 value) { return __bfloat162float(value); }
__device__ inline float widen(__half value) { return __half2float(value); }

template <typename T>
__device__ T narrow(float value);

template <>
__device__ inline float narrow<float>(float value) {
  return value;
}

template <>
__device__ inline __nv_bfloat16 narrow<__nv_bfloat16>(float value) {
  return __float2bfloat16_rn(value);
}

template <>
__device__ inline __half narrow<__half>(float value) {
  return __float2half_rn(value);
}

template <typename T>
constexpr int kPacket = 16 / static_cast<int>(sizeof(T));  // elements of 16 bytes

// COUNT neighbours, read and written at once.
template <typename T, int COUNT>
struct alignas(sizeof(T) * COUNT) Pack {
  T at[COUNT];
};

// Whether packs of 16 bytes may lie there.
inline bool aligned(const void* pointer) { return reinterpret_cast<std::uintptr_t>(pointer) % 16 == 0; }

}  // namespace rotacube::cuda
