// bfloat16 as CUDA names it.
#pragma once

#include "../../../csrc/cpu/half.h"

struct __nv_bfloat16 {
  uint16_t bits;
};

inline float __bfloat162float(__nv_bfloat16 value) { return rotacube::cpu::widen(rotacube::cpu::BFloat16{value.bits}); }
inline __nv_bfloat16 __float2bfloat16_rn(float value) {
  return {rotacube::cpu::narrow<rotacube::cpu::BFloat16>(value).bits};
}
inline __nv_bfloat16 __ushort_as_bfloat16(unsigned short bits) { return {bits}; }
inline unsigned short __bfloat16_as_ushort(__nv_bfloat16 value) { return value.bits; }
