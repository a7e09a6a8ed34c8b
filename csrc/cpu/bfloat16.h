// bfloat16 as it lies in memory: the upper half of a float32.
#pragma once

#include <cstdint>
#include <cstring>

namespace rotacube::cpu {

struct BFloat16 {
  uint16_t bits;
};

// Between the two, or nothing at all. To bfloat16 it rounds to the nearest, ties to even; a NaN stays one.
template <typename To>
To convert(float value);
template <typename To>
To convert(BFloat16 value);

template <>
inline float convert<float>(float value) {
  return value;
}

template <>
inline BFloat16 convert<BFloat16>(BFloat16 value) {
  return value;
}

template <>
inline float convert<float>(BFloat16 value) {
  const uint32_t bits = static_cast<uint32_t>(value.bits) << 16;
  float wide;
  std::memcpy(&wide, &bits, sizeof(wide));
  return wide;
}

template <>
inline BFloat16 convert<BFloat16>(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof(bits));
  if (value != value) return {static_cast<uint16_t>((bits >> 16) | 0x40)};
  return {static_cast<uint16_t>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16)};
}

}  // namespace rotacube::cpu
