// bfloat16 and float16 as they lie in memory, and pairs of bfloat16 as AVX512_BF16 multiplies them.
#pragma once

#include <cstdint>
#include <cstring>
#include <type_traits>

namespace rotacube::cpu {

struct BFloat16 {
  uint16_t bits;
};

struct Float16 {
  uint16_t bits;
};

// DO(X) for each type of elements, and DO(X, W) for each pair of input and weight, which is of the input's type or
// float32: what kernels are compiled for, and what csrc/torch/cpu_types.h chooses from. A new type is added here.
#define ROTACUBE_EACH_TYPE(DO) DO(float) DO(BFloat16) DO(Float16)
#define ROTACUBE_EACH_PAIR(DO) \
  DO(float, float) DO(BFloat16, BFloat16) DO(BFloat16, float) DO(Float16, Float16) DO(Float16, float)

struct alignas(4) Pair {
  BFloat16 first, second;
};

// From any of the types to float32, exactly.
inline float widen(float value) { return value; }

inline float widen(BFloat16 value) {
  const uint32_t bits = static_cast<uint32_t>(value.bits) << 16;
  float wide;
  std::memcpy(&wide, &bits, sizeof(wide));
  return wide;
}

inline float widen(Float16 value) {
  const uint32_t sign = static_cast<uint32_t>(value.bits & 0x8000) << 16;
  const uint32_t magnitude = value.bits & 0x7fff;
  // The exponent moves from a bias of 15 to one of 127: by a multiplication, which also mends subnormal numbers.
  uint32_t bits = magnitude << 13;
  float wide;
  std::memcpy(&wide, &bits, sizeof(wide));
  wide *= 0x1p112f;
  std::memcpy(&bits, &wide, sizeof(bits));
  if (magnitude >= 0x7c00) bits |= 0x7f800000;  // infinity and what is no number
  bits |= sign;
  std::memcpy(&wide, &bits, sizeof(wide));
  return wide;
}

// From float32, to the nearest, ties to even; what is no number stays so.
template <typename To>
inline To narrow(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof(bits));
  if constexpr (std::is_same_v<To, float>) {
    return value;
  } else if constexpr (std::is_same_v<To, BFloat16>) {
    if (value != value) return {static_cast<uint16_t>((bits >> 16) | 0x40)};
    return {static_cast<uint16_t>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16)};
  } else {
    static_assert(std::is_same_v<To, Float16>);
    const uint32_t sign = (bits >> 16) & 0x8000;
    bits &= 0x7fffffff;
    if (bits > 0x7f800000) return {static_cast<uint16_t>(sign | 0x7e00)};
    if (bits >= 0x47800000) return {static_cast<uint16_t>(sign | 0x7c00)};  // 65536 and more
    if (bits < 0x38800000) {                                                // below 2^-14: subnormal in steps of 2^-24
      float magnitude;
      std::memcpy(&magnitude, &bits, sizeof(magnitude));
      magnitude += 0.5f;  // the steps of float32 from 0.5 on are 2^-24: this rounds
      std::memcpy(&bits, &magnitude, sizeof(bits));
      return {static_cast<uint16_t>(sign | (bits - 0x3f000000))};
    }
    return {static_cast<uint16_t>(sign | ((bits - 0x38000000 + 0xfff + ((bits >> 13) & 1)) >> 13))};
  }
}

template <typename To, typename From>
inline To convert(From value) {
  if constexpr (std::is_same_v<To, From>) {
    return value;
  } else {
    return narrow<To>(widen(value));
  }
}

}  // namespace rotacube::cpu
