// Kronecker feature fusion; included once for each instruction set.
#include "vector.h"
//
#include "stream_store.h"

namespace rotacube::cpu {
namespace ROTACUBE_ISA {

template <int N>
inline void kronecker_mix(const Vector (&x)[N], const float (&weight)[N * N], Vector (&y)[N]) {
#pragma GCC unroll 8
  for (int b = 0; b < N; ++b) {
    Vector sum = splat(weight[b]) * x[0];
#pragma GCC unroll 8
    for (int j = 1; j < N; ++j) sum += splat(weight[j * N + b]) * x[j];
    y[b] = sum;
  }
}

template <int N, typename X>
void kronecker_forward_share(const KroneckerShape& shape, const KroneckerShare& share, const X* const* xs,
                             const float* all_weights, X* y, bool past) {
  float weight[N * N];
  std::copy_n(all_weights, N * N, weight);
  const X* maps[N];
  std::copy_n(xs, N, maps);
  for (int64_t o = share.first_outer; o < share.last_outer; ++o) {
    const int64_t from = o * shape.inner;
    X* const to = y + o * N * shape.inner;
    Vector x[N], sums[N];
    int64_t i = share.first_inner;
    for (; i + kLanes <= share.last_inner; i += kLanes) {
#pragma GCC unroll 8
      for (int j = 0; j < N; ++j) x[j] = load(maps[j] + from + i);
      kronecker_mix<N>(x, weight, sums);
#pragma GCC unroll 8
      for (int b = 0; b < N; ++b) store(to + b * shape.inner + i, sums[b], past);
    }
    const int64_t rest = share.last_inner - i;
    if (rest == 0) continue;
    for (int j = 0; j < N; ++j) x[j] = load_some(maps[j] + from + i, rest);
    kronecker_mix<N>(x, weight, sums);
    for (int b = 0; b < N; ++b) store_some(to + b * shape.inner + i, sums[b], rest);
  }
  if (past) finish_stores();
}

// One vector of each block of the gradient and of each map: gradients of the maps, and products for those of weight.
template <int N>
inline void kronecker_pull(const Vector (&grad)[N], const Vector (&x)[N], const float (&weight)[N * N], bool want_x,
                           bool want_weight, Vector (&grad_x)[N], Vector (&sums)[N * N]) {
  if (want_x) {
#pragma GCC unroll 8
    for (int j = 0; j < N; ++j) {
      Vector sum = splat(weight[j * N]) * grad[0];
#pragma GCC unroll 8
      for (int b = 1; b < N; ++b) sum += splat(weight[j * N + b]) * grad[b];
      grad_x[j] = sum;
    }
  }
  if (want_weight) {
#pragma GCC unroll 8
    for (int j = 0; j < N; ++j) {
#pragma GCC unroll 8
      for (int b = 0; b < N; ++b) sums[j * N + b] += x[j] * grad[b];
    }
  }
}

// Vectors that are added up before their sum is added to the share's. A float32 sum of t like terms is wrong by up to
// t / 2 roundings. A share has up to 8192 terms a lane (in runs of one element): one by one that is 4096 roundings, by
// 128 sums of 64 it is 64 + 32, which is 6e-6.
constexpr int kKroneckerRun = 64;

// `totals` takes the share's part of the gradient of weight; null where it is not wanted.
template <int N, typename X>
void kronecker_backward_share(const KroneckerShape& shape, const KroneckerShare& share, const X* all_grad,
                              const X* const* xs, const float* all_weights, X* const* grad_xs, double* totals,
                              bool past) {
  const bool want_x = grad_xs != nullptr, want_weight = totals != nullptr;
  float weight[N * N];
  std::copy_n(all_weights, N * N, weight);
  const X* maps[N];
  std::copy_n(xs, N, maps);
  X* outs[N] = {};
  if (want_x) std::copy_n(grad_xs, N, outs);
  Vector sums[N * N] = {}, all[N * N] = {};
  int left = kKroneckerRun;
  const auto end_run = [&] {
    for (int k = 0; k < N * N; ++k) {
      all[k] += sums[k];
      sums[k] = Vector{};
    }
    left = kKroneckerRun;
  };
  for (int64_t o = share.first_outer; o < share.last_outer; ++o) {
    const int64_t at = o * shape.inner;
    const X* const from = all_grad + at * N;
    Vector grad[N], x[N] = {}, grad_x[N];
    int64_t i = share.first_inner;
    for (; i + kLanes <= share.last_inner; i += kLanes) {
#pragma GCC unroll 8
      for (int b = 0; b < N; ++b) grad[b] = load(from + b * shape.inner + i);
      if (want_weight) {
#pragma GCC unroll 8
        for (int j = 0; j < N; ++j) x[j] = load(maps[j] + at + i);
      }
      kronecker_pull<N>(grad, x, weight, want_x, want_weight, grad_x, sums);
      if (want_x) {
#pragma GCC unroll 8
        for (int j = 0; j < N; ++j) store(outs[j] + at + i, grad_x[j], past);
      }
      if (want_weight && --left == 0) end_run();
    }
    const int64_t rest = share.last_inner - i;
    if (rest == 0) continue;
    for (int b = 0; b < N; ++b) grad[b] = load_some(from + b * shape.inner + i, rest);
    if (want_weight) {
      for (int j = 0; j < N; ++j) x[j] = load_some(maps[j] + at + i, rest);
    }
    kronecker_pull<N>(grad, x, weight, want_x, want_weight, grad_x, sums);
    if (want_x) {
      for (int j = 0; j < N; ++j) store_some(outs[j] + at + i, grad_x[j], rest);
    }
    if (want_weight && --left == 0) end_run();
  }
  if (past && want_x) finish_stores();
  if (!want_weight) return;
  end_run();
  for (int k = 0; k < N * N; ++k) {
    totals[k] = 0;
    for (int lane = 0; lane < kLanes; ++lane) totals[k] += all[k][lane];
  }
}

// Calls run(integral constant) with the number of maps, at most N.
template <int N = static_cast<int>(kMostKroneckerMaps), typename Run>
void with_maps(int64_t maps, const Run& run) {
  if constexpr (N > 1) {
    if (maps < N) return with_maps<N - 1>(maps, run);
  }
  run(std::integral_constant<int, N>());
}

template <typename X>
void kronecker_forward(const KroneckerShape& shape, const KroneckerShare& share, const X* const* xs,
                       const float* weight, X* y, bool past) {
  with_maps(shape.maps,
            [&](auto maps) { kronecker_forward_share<decltype(maps)::value>(shape, share, xs, weight, y, past); });
}

template <typename X>
void kronecker_backward(const KroneckerShape& shape, const KroneckerShare& share, const X* grad, const X* const* xs,
                        const float* weight, X* const* grad_xs, double* totals, bool past) {
  with_maps(shape.maps, [&](auto maps) {
    kronecker_backward_share<decltype(maps)::value>(shape, share, grad, xs, weight, grad_xs, totals, past);
  });
}

}  // namespace ROTACUBE_ISA
}  // namespace rotacube::cpu
