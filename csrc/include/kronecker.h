// Kronecker feature fusion, device-independent: what it computes, and how its operands lie.
//
// Maps x_0 ... x_{n-1}, each (B, r, H, W); weight (n, n); output y (B, n*r, H, W), whose block b of r channels is
//
//   y_b = sum over j of weight[j, b] * x_j        (Kronecker Product Feature Fusion, y = sum_j w_j (x) x_j)
//
// All maps lie dense in one order, so that both memory formats are one case: a map is `outer` runs of `inner` elements,
// and y is `outer` times n such runs, block after block. Contiguous: outer = B, inner = r*H*W. channels_last:
// outer = B*H*W, inner = r.
#pragma once

#include <cstdint>

namespace rotacube {

constexpr int64_t kMostKroneckerMaps = 8;

struct KroneckerShape {
  int64_t maps;  // n, from 1 to kMostKroneckerMaps
  int64_t outer;
  int64_t inner;
};

// A share of the work: some whole runs, or one part of one run.
struct KroneckerShare {
  int64_t first_outer, last_outer;
  int64_t first_inner, last_inner;
};

// How the work is cut, always in the same way, whatever runs it: sums over shares don't depend on the threads.
struct KroneckerShares {
  int64_t parts;  // of a run
  int64_t runs;   // in a share, where runs are not cut
  int64_t count;
};

// Shares of about `elements` elements of each map; `elements` is a multiple of a cache line's.
inline KroneckerShares kronecker_shares(const KroneckerShape& shape, int64_t elements) {
  const int64_t parts = (shape.inner + elements - 1) / elements;
  if (parts > 1) return {parts, 1, shape.outer * parts};
  const int64_t runs = shape.inner == 0 ? 1 : elements / shape.inner;
  return {1, runs, (shape.outer + runs - 1) / runs};
}

inline KroneckerShare kronecker_share(const KroneckerShape& shape, const KroneckerShares& shares, int64_t elements,
                                      int64_t index) {
  const auto least = [](int64_t a, int64_t b) { return a < b ? a : b; };
  if (shares.parts > 1) {
    const int64_t outer = index / shares.parts, begin = index % shares.parts * elements;
    return {outer, outer + 1, begin, least(begin + elements, shape.inner)};
  }
  return {index * shares.runs, least((index + 1) * shares.runs, shape.outer), 0, shape.inner};
}

}  // namespace rotacube
