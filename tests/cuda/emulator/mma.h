// Tensor cores: 16 x 16 tiles. Each lane keeps the rows of A and the columns of B that its eight sums need.
#pragma once

#include <type_traits>

#include "cuda_bf16.h"
#include "cuda_fp16.h"
#include "cuda_runtime_api.h"

namespace nvcuda::wmma {

struct matrix_a;
struct matrix_b;
struct accumulator;
struct row_major;
struct col_major;
enum layout_t { mem_row_major, mem_col_major };
namespace precision {
struct tf32;
}

namespace detail {

inline float widen(float value) { return value; }
inline float widen(__half value) { return __half2float(value); }
inline float widen(__nv_bfloat16 value) { return __bfloat162float(value); }

inline int lane() { return static_cast<int>(emulator::machine().current % 32); }
inline int row(int i) { return lane() / 4 + 8 * i; }                     // of a lane's sums, i < 2
inline int column(int j) { return lane() % 4 * 2 + j % 2 + j / 2 * 8; }  // j < 4

template <typename T>
void check(const T* memory, unsigned int pitch) {
  if (reinterpret_cast<uintptr_t>(memory) % 32 != 0) emulator::fail("a matrix is not aligned to 32 bytes");
  if (pitch * sizeof(T) % 16 != 0) emulator::fail("the pitch of a matrix is no multiple of 16 bytes");
  ++emulator::self().operations;
}

}  // namespace detail

template <typename Use, int M, int N, int K, typename T, typename Layout = void>
struct fragment {
  static_assert(M == 16 && N == 16, "the emulator knows tiles of 16 x 16");
  static constexpr int num_elements = std::is_same_v<Use, matrix_a> ? 2 * K : std::is_same_v<Use, matrix_b> ? 4 * K : 8;
  float x[num_elements];
};

template <int K, typename T>
void fill_fragment(fragment<accumulator, 16, 16, K, T>& to, float value) {
  for (float& x : to.x) x = value;
}

template <int K, typename T, typename Layout, typename From>
void load_matrix_sync(fragment<matrix_a, 16, 16, K, T, Layout>& to, const From* from, unsigned int pitch) {
  detail::check(from, pitch);
  for (int i = 0; i < 2; ++i) {
    for (int k = 0; k < K; ++k) {
      const int m = detail::row(i);
      to.x[i * K + k] = detail::widen(std::is_same_v<Layout, row_major> ? from[m * pitch + k] : from[k * pitch + m]);
    }
  }
}

template <int K, typename T, typename Layout, typename From>
void load_matrix_sync(fragment<matrix_b, 16, 16, K, T, Layout>& to, const From* from, unsigned int pitch) {
  detail::check(from, pitch);
  for (int j = 0; j < 4; ++j) {
    for (int k = 0; k < K; ++k) {
      const int n = detail::column(j);
      to.x[j * K + k] = detail::widen(std::is_same_v<Layout, row_major> ? from[k * pitch + n] : from[n * pitch + k]);
    }
  }
}

template <int K, typename T, typename A, typename B>
void mma_sync(fragment<accumulator, 16, 16, K, float>& to, const fragment<matrix_a, 16, 16, K, T, A>& a,
              const fragment<matrix_b, 16, 16, K, T, B>& b, const fragment<accumulator, 16, 16, K, float>& from) {
  ++emulator::self().operations;
  for (int i = 0; i < 2; ++i) {
    for (int j = 0; j < 4; ++j) {
      float sum = from.x[i * 4 + j];
      for (int k = 0; k < K; ++k) sum += a.x[i * K + k] * b.x[j * K + k];
      to.x[i * 4 + j] = sum;
    }
  }
}

template <int K>
void store_matrix_sync(float* to, const fragment<accumulator, 16, 16, K, float>& from, unsigned int pitch,
                       layout_t layout) {
  detail::check(to, pitch);
  if (layout != mem_row_major) emulator::fail("sums are stored row by row");
  for (int i = 0; i < 2; ++i) {
    for (int j = 0; j < 4; ++j) to[detail::row(i) * pitch + detail::column(j)] = from.x[i * 4 + j];
  }
}

// Ten bits of mantissa, to the nearest.
inline float __float_to_tf32(float value) {
  const unsigned int bits = __float_as_uint(value);
  if ((bits & 0x7f800000) == 0x7f800000) return value;
  return __uint_as_float((bits + 0xfff + (bits >> 13 & 1)) & ~0x1fffu);
}

}  // namespace nvcuda::wmma
