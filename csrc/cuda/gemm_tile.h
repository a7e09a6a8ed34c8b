// A warp's part of a matrix product: FM x FN tiles of 16 x 16 sums, from operands in shared memory.
//
// On tensor cores where the type and the GPU have them: float16 everywhere, bfloat16 from compute capability 8.0 on.
// float32 is exact, by fused multiply-adds; compiled with ROTACUBE_TF32 it goes to tensor cores with 10-bit mantissas
// from 8.0 on.
#pragma once

#include <mma.h>

#include "gemm_memory.h"

namespace rotacube::cuda {

constexpr int kTileSums = 8;  // a lane's sums of a tile

// The depth of a step: 64 bytes of each row.
template <typename T>
constexpr int kDepth = 64 / static_cast<int>(sizeof(T));

// Operands lie "by depth" where neighbours in memory follow the depth: A as (row, depth), B as (column, depth);
// otherwise A as (depth, row), B as (depth, column). Pitches are in elements. `active` has a bit for each column of
// tiles that takes part; only those lie in B, side by side.
template <typename T, typename Operand, int STEP>
struct TensorTile {
  using Sums = nvcuda::wmma::fragment<nvcuda::wmma::accumulator, 16, 16, STEP, float>;
  static_assert(Sums::num_elements == kTileSums);

  __device__ static void clear(Sums& sums) { nvcuda::wmma::fill_fragment(sums, 0.0f); }

  __device__ static void store(const Sums& sums, float* to, int64_t pitch) {
    nvcuda::wmma::store_matrix_sync(to, sums, static_cast<unsigned int>(pitch), nvcuda::wmma::mem_row_major);
  }

  template <int DEPTH, bool A_BY_DEPTH, bool B_BY_DEPTH, int FM, int FN>
  __device__ static void multiply(Sums (&sums)[FM][FN], const T* a, int a_pitch, const T* b, int b_pitch,
                                  unsigned int active = ~0u) {
    namespace wmma = nvcuda::wmma;
    using ALayout = std::conditional_t<A_BY_DEPTH, wmma::row_major, wmma::col_major>;
    using BLayout = std::conditional_t<B_BY_DEPTH, wmma::col_major, wmma::row_major>;
#pragma unroll
    for (int k = 0; k < DEPTH; k += STEP) {
      wmma::fragment<wmma::matrix_a, 16, 16, STEP, Operand, ALayout> left[FM];
#pragma unroll
      for (int i = 0; i < FM; ++i) {
        wmma::load_matrix_sync(left[i], a + (A_BY_DEPTH ? 16 * i * a_pitch + k : k * a_pitch + 16 * i), a_pitch);
        round(left[i]);
      }
      int at = 0;
#pragma unroll
      for (int j = 0; j < FN; ++j) {
        if ((active >> j & 1) == 0) continue;
        wmma::fragment<wmma::matrix_b, 16, 16, STEP, Operand, BLayout> right;
        wmma::load_matrix_sync(right, b + (B_BY_DEPTH ? at * b_pitch + k : k * b_pitch + at), b_pitch);
        round(right);
        at += 16;
#pragma unroll
        for (int i = 0; i < FM; ++i) wmma::mma_sync(sums[i][j], left[i], right, sums[i][j]);
      }
    }
  }

 private:
  template <typename Fragment>
  __device__ static void round([[maybe_unused]] Fragment& operand) {
#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 800
    if constexpr (std::is_same_v<T, float>) {
#pragma unroll
      for (int i = 0; i < operand.num_elements; ++i) operand.x[i] = nvcuda::wmma::__float_to_tf32(operand.x[i]);
    }
#endif
  }
};

template <typename T>
struct FmaTile {
  struct Sums {
    float x[kTileSums];  // rows lane / 4 + 8 i, columns lane % 4 + 4 j
  };

  __device__ static void clear(Sums& sums) {
#pragma unroll
    for (int i = 0; i < kTileSums; ++i) sums.x[i] = 0.0f;
  }

  __device__ static void store(const Sums& sums, float* to, int64_t pitch) {
    const int row = static_cast<int>(threadIdx.x) % 32 / 4, column = static_cast<int>(threadIdx.x) % 4;
#pragma unroll
    for (int i = 0; i < kTileSums; ++i) to[(row + i / 4 * 8) * pitch + column + i % 4 * 4] = sums.x[i];
  }

  template <int DEPTH, bool A_BY_DEPTH, bool B_BY_DEPTH, int FM, int FN>
  __device__ static void multiply(Sums (&sums)[FM][FN], const T* a, int a_pitch, const T* b, int b_pitch,
                                  unsigned int active = ~0u) {
    const int row = static_cast<int>(threadIdx.x) % 32 / 4, column = static_cast<int>(threadIdx.x) % 4;
#pragma unroll 2
    for (int k = 0; k < DEPTH; k += 4) {
      float left[FM * 2][4];
#pragma unroll
      for (int i = 0; i < FM * 2; ++i) four<A_BY_DEPTH>(left[i], a, a_pitch, row + 8 * i, k);
      int at = 0;
#pragma unroll
      for (int n = 0; n < FN; ++n) {
        if ((active >> n & 1) == 0) continue;
#pragma unroll
        for (int j = 0; j < 4; ++j) {
          float right[4];
          four<B_BY_DEPTH>(right, b, b_pitch, at + column + 4 * j, k);
#pragma unroll
          for (int i = 0; i < FM * 2; ++i) {
            float& sum = sums[i / 2][n].x[i % 2 * 4 + j];
#pragma unroll
            for (int d = 0; d < 4; ++d) sum = fmaf(left[i][d], right[d], sum);
          }
        }
        at += 16;
      }
    }
  }

 private:
  template <bool BY_DEPTH>
  __device__ static void four(float (&to)[4], const T* from, int pitch, int outer, int k) {
    if constexpr (BY_DEPTH) {
      const auto pack = *reinterpret_cast<const Pack<T, 4>*>(from + outer * pitch + k);
#pragma unroll
      for (int d = 0; d < 4; ++d) to[d] = widen(pack.at[d]);
    } else {
#pragma unroll
      for (int d = 0; d < 4; ++d) to[d] = widen(from[(k + d) * pitch + outer]);
    }
  }
};

template <typename T>
struct TileOf {
  using Type = TensorTile<T, T, 16>;
};

#if defined(ROTACUBE_TF32) && (!defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 800)
template <>
struct TileOf<float> {
  using Type = TensorTile<float, nvcuda::wmma::precision::tf32, 8>;
};
#else
template <>
struct TileOf<float> {
  using Type = FmaTile<float>;
};
#endif

#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 800
template <>
struct TileOf<__nv_bfloat16> {
  using Type = FmaTile<__nv_bfloat16>;
};
#endif

template <typename T>
using Tile = typename TileOf<T>::Type;

template <typename T>
using Sums = typename Tile<T>::Sums;

template <typename T, int FM, int FN>
__device__ inline void clear(Sums<T> (&sums)[FM][FN]) {
#pragma unroll
  for (int i = 0; i < FM; ++i) {
#pragma unroll
    for (int j = 0; j < FN; ++j) Tile<T>::clear(sums[i][j]);
  }
}

// The steps [first, last) of a product, one or two of them in shared memory at a time. `op` fetches what must be turned
// into registers a step ahead, stores it turned, copies asynchronously what is ready as it lies, and multiplies. When
// it returns, shared memory is free.
template <class Op>
__device__ inline void run_steps(Op& op, int first, int last, char* shared, int stages) {
  if (first >= last) return;
  typename Op::Fetched fetched;
  op.fetch(first, fetched);
  if (stages == 2) {
    op.copy(first, shared);
    __pipeline_commit();
  }
  for (int step = first; step < last; ++step) {
    char* const stage = shared + (stages == 2 && ((step - first) & 1) ? Op::kStageBytes : 0);
    if (stages == 1) {
      if (step > first) __syncthreads();
      op.copy(step, stage);
      __pipeline_commit();
    }
    op.store(fetched, stage);
    __pipeline_wait_prior(0);
    __syncthreads();
    if (step + 1 < last) {
      op.fetch(step + 1, fetched);
      if (stages == 2) {
        op.copy(step + 1, shared + (stage == shared ? Op::kStageBytes : 0));
        __pipeline_commit();
      }
    }
    op.multiply(step, stage);
  }
  __syncthreads();
}

// Two steps in shared memory where a block may have so much.
inline cudaError_t choose_stages(int64_t stage_bytes, int* stages) {
  int device = 0, most = 0;
  cudaError_t error = cudaGetDevice(&device);
  if (error == cudaSuccess) error = cudaDeviceGetAttribute(&most, cudaDevAttrMaxSharedMemoryPerBlockOptin, device);
  *stages = 2 * stage_bytes <= most ? 2 : 1;
  return error;
}

}  // namespace rotacube::cuda
