#include "kronecker.h"

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <type_traits>
#include <utility>

#include "level.h"
#include "past_caches.h"

#define ROTACUBE_KERNELS "kronecker_kernels.h"
#include "each_isa.h"

namespace rotacube::cpu {
namespace {

// Elements of each map in a share. Within a share sums are float32, of short runs; over shares they are double.
constexpr int64_t kShare = 8192;

// Whether all runs of a result begin and end at a cache line's border, and it is large.
template <typename X>
bool goes_past(const KroneckerShape& shape, const X* result) {
  const int64_t bytes = shape.inner * static_cast<int64_t>(sizeof(X));
  return bytes % kLine == 0 && belongs_past_caches(result, bytes * shape.outer * shape.maps);
}

}  // namespace

template <typename X>
void kronecker_fusion(const KroneckerShape& shape, const X* const* xs, const float* weight, X* y,
                      const Threads& threads) {
  if (shape.outer * shape.inner == 0) return;
  const KroneckerShares shares = kronecker_shares(shape, kShare);
  const bool past = goes_past(shape, y);
  threads.for_each(shares.count, [&](int64_t index) {
    const KroneckerShare share = kronecker_share(shape, shares, kShare, index);
    ROTACUBE_RUN(kronecker_forward, shape, share, xs, weight, y, past);
  });
}

template <typename X>
void kronecker_fusion_backward(const KroneckerShape& shape, const X* grad, const X* const* xs, const float* weight,
                               X* const* grad_xs, float* grad_weight, const Threads& threads) {
  const int64_t pairs = shape.maps * shape.maps;
  if (shape.outer * shape.inner == 0) {
    if (grad_weight != nullptr) std::fill_n(grad_weight, pairs, 0.0f);
    return;
  }
  const KroneckerShares shares = kronecker_shares(shape, kShare);
  bool past = grad_xs != nullptr;
  for (int64_t j = 0; past && j < shape.maps; ++j) past = goes_past(shape, grad_xs[j]);
  const Buffer<double> totals = allocate<double>(grad_weight != nullptr ? shares.count * pairs : 0);
  threads.for_each(shares.count, [&](int64_t index) {
    const KroneckerShare share = kronecker_share(shape, shares, kShare, index);
    double* const part = grad_weight != nullptr ? totals.get() + index * pairs : nullptr;
    ROTACUBE_RUN(kronecker_backward, shape, share, grad, xs, weight, grad_xs, part, past);
  });
  if (grad_weight == nullptr) return;
  for (int64_t k = 0; k < pairs; ++k) {
    double sum = 0;
    for (int64_t index = 0; index < shares.count; ++index) sum += totals[index * pairs + k];
    grad_weight[k] = static_cast<float>(sum);
  }
}

#define ROTACUBE_INSTANTIATE(X)                                                                                      \
  template void kronecker_fusion(const KroneckerShape&, const X* const*, const float*, X*, const Threads&);          \
  template void kronecker_fusion_backward(const KroneckerShape&, const X*, const X* const*, const float*, X* const*, \
                                          float*, const Threads&);
ROTACUBE_EACH_TYPE(ROTACUBE_INSTANTIATE)
#undef ROTACUBE_INSTANTIATE

}  // namespace rotacube::cpu
