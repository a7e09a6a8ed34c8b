#include "involution.h"

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <type_traits>
#include <utility>

#include "involution_tile.h"
#include "level.h"
#include "past_caches.h"

#define ROTACUBE_KERNELS "involution_backward.h"
#include "each_isa.h"

namespace rotacube::cpu {
namespace {

// How the work is cut into tiles. A tile's rows are few enough that there is work for all threads, and else so many
// that the rows around it, which it reads too, count little.
struct Cut {
  int64_t groups, columns, rows;
  int64_t group_parts, column_parts, row_parts, count;
};

Cut cut_of(const InvolutionShape& shape, const Threads& threads) {
  const int64_t width = shape.channels / shape.groups;
  Cut cut;
  cut.groups = std::clamp<int64_t>(64 / width, 1, shape.groups);
  const int64_t channels = cut.groups * width;
  cut.columns = std::min<int64_t>(shape.width, channels <= 128 ? 64 : channels <= 256 ? 32 : 16);
  cut.group_parts = (shape.groups + cut.groups - 1) / cut.groups;
  cut.column_parts = (shape.width + cut.columns - 1) / cut.columns;
  for (cut.rows = 64;; cut.rows /= 2) {
    cut.row_parts = (shape.height + cut.rows - 1) / cut.rows;
    cut.count = shape.batch * cut.row_parts * cut.column_parts * cut.group_parts;
    if (cut.rows == 8 || cut.count >= 4 * threads.number) return cut;
  }
}

InvolutionTile tile_of(const InvolutionShape& shape, const Cut& cut, int64_t index) {
  const int64_t group = index % cut.group_parts * cut.groups;
  index /= cut.group_parts;
  const int64_t left = index % cut.column_parts * cut.columns;
  index /= cut.column_parts;
  const int64_t top = index % cut.row_parts * cut.rows;
  return {index / cut.row_parts,
          group,
          std::min(cut.groups, shape.groups - group),
          top,
          std::min(top + cut.rows, shape.height),
          left,
          std::min(cut.columns, shape.width - left)};
}

// Calls body(index, scratch) for each index in [0, count) on all threads, each with `floats` floats of its own.
template <typename Body>
void for_each_with_scratch(const Threads& threads, int64_t count, int64_t floats, const Body& body) {
  struct Context {
    int64_t floats;
    const Body* body;
  } context{floats, &body};
  threads.run(
      count,
      [](int64_t first, int64_t last, void* opaque) {
        const Context& own = *static_cast<const Context*>(opaque);
        const Buffer<float> scratch = allocate<float>(own.floats);
        for (int64_t i = first; i < last; ++i) (*own.body)(i, scratch.get());
      },
      &context);
}

bool is_empty(const InvolutionShape& shape) { return shape.batch * shape.channels * shape.height * shape.width == 0; }

// Whether a result is stored past the caches: it is large, and what is stored at a time fills cache lines.
template <typename X>
bool goes_past(const InvolutionShape& shape, const Cut& cut, const X* result) {
  const auto whole = [](int64_t run) { return run * sizeof(X) % kLine == 0; };
  const bool lines = shape.channels_last ? whole(cut.groups * shape.channels / shape.groups) && whole(shape.channels)
                                         : whole(shape.width);
  const int64_t count = shape.batch * shape.channels * shape.height * shape.width;
  return lines && belongs_past_caches(result, count * static_cast<int64_t>(sizeof(X)));
}

}  // namespace

template <typename X>
void involution2d(const InvolutionShape& shape, const X* x, const X* kernel, X* y, const Threads& threads) {
  if (is_empty(shape)) return;
  const Cut cut = cut_of(shape, threads);
  const bool past = goes_past(shape, cut, y);
  for_each_with_scratch(threads, cut.count, ROTACUBE_RUN(involution_scratch, shape, cut.groups, cut.columns),
                        [&](int64_t index, float* scratch) {
                          const InvolutionTile tile = tile_of(shape, cut, index);
                          ROTACUBE_RUN(involution_tile, shape, tile, x, kernel, y, scratch, past);
                        });
}

template <typename X>
void involution2d_backward(const InvolutionShape& shape, const X* grad, const X* x, const X* kernel, X* grad_x,
                           X* grad_kernel, const Threads& threads) {
  if (is_empty(shape)) return;
  const Cut cut = cut_of(shape, threads);
  const bool past = !shape.channels_last && (grad_x == nullptr || goes_past(shape, cut, grad_x)) &&
                    (grad_kernel == nullptr || goes_past(shape, cut, grad_kernel));
  for_each_with_scratch(threads, cut.count, ROTACUBE_RUN(involution_pull_scratch, shape, cut.groups, cut.columns),
                        [&](int64_t index, float* scratch) {
                          const InvolutionTile tile = tile_of(shape, cut, index);
                          ROTACUBE_RUN(involution_pull_tile, shape, tile, grad, x, kernel, grad_x, grad_kernel, scratch,
                                       past);
                        });
}

#define ROTACUBE_INSTANTIATE(X)                                                               \
  template void involution2d(const InvolutionShape&, const X*, const X*, X*, const Threads&); \
  template void involution2d_backward(const InvolutionShape&, const X*, const X*, const X*, X*, X*, const Threads&);
ROTACUBE_EACH_TYPE(ROTACUBE_INSTANTIATE)
#undef ROTACUBE_INSTANTIATE

}  // namespace rotacube::cpu
