// float16 as CUDA names it.
#pragma once

#include "../../../csrc/cpu/half.h"

struct __half {
  uint16_t bits;
};

inline float __half2float(__half value) { return rotacube::cpu::widen(rotacube::cpu::Float16{value.bits}); }
inline __half __float2half_rn(float value) { return {rotacube::cpu::narrow<rotacube::cpu::Float16>(value).bits}; }
inline __half __ushort_as_half(unsigned short bits) { return {bits}; }
inline unsigned short __half_as_ushort(__half value) { return value.bits; }
