// The mean over rotations of a 3 x 3 convolution; included once for each instruction set.
// clang-format off: each of these needs those before it
#include "vector.h"
#include "product.h"
#include "rows.h"
// clang-format on

namespace rotacube::cpu {
namespace ROTACUBE_ISA {

// Reads rows of output pixels' neighbourhoods: for each pixel its centre, the sum of its edges and that of its corners,
// `run` lanes each.
template <typename X, typename Lane>
class Neighbourhoods {
 public:
  Neighbourhoods(const RotationShape& shape, const X* x, const Strides& strides, int64_t run, int64_t most_columns)
      : shape_(shape),
        x_(x),
        strides_(strides),
        run_(run),
        wide_((shape.channels + kLanes - 1) / kLanes * kLanes),
        row_((most_columns + 2) * wide_),
        rows_(allocate<float>(4 * row_)) {
    std::memset(rows_.get(), 0, sizeof(float) * 4 * row_);
  }

  // Output row `row`, `columns` pixels from `left` on. Rows that follow each other reuse what was read.
  void read(int64_t image, int64_t row, int64_t left, int64_t columns, Lane* to, int64_t pixel_lanes) {
    const int64_t top = row - shape_.padding;
    for (int64_t r = top; r < top + 3; ++r) {
      const bool known = image == image_ && left == left_ && r < next_ && r >= next_ - 3;
      if (!known) read_input(image, r, left - shape_.padding, columns + 2);
    }
    image_ = image;
    left_ = left;
    next_ = top + 3;
    const float* const above = input(top);
    const float* const middle = input(top + 1);
    const float* const below = input(top + 2);
    float* const ends = rows_.get() + 3 * row_;  // above and below together
    for (int64_t i = 0; i < (columns + 2) * wide_; i += kLanes) store(ends + i, load(above + i) + load(below + i));
    for (int64_t c = 0; c < columns; ++c, to += pixel_lanes) {
      const float* const own = middle + c * wide_;
      const float* const both = ends + c * wide_;
      for (int64_t i = 0; i < shape_.channels; i += kLanes) {
        const int64_t count = std::min<int64_t>(kLanes, shape_.channels - i);
        store_some(to + i, load(own + wide_ + i), count);
        store_some(to + run_ + i, load(own + i) + load(own + 2 * wide_ + i) + load(both + wide_ + i), count);
        store_some(to + 2 * run_ + i, load(both + i) + load(both + 2 * wide_ + i), count);
      }
      for (int64_t i = shape_.channels; i < run_; ++i) to[i] = to[run_ + i] = to[2 * run_ + i] = Lane{};
    }
  }

 private:
  float* input(int64_t row) const { return rows_.get() + ((row % 3) + 3) % 3 * row_; }

  void read_input(int64_t image, int64_t row, int64_t left, int64_t columns) {
    with_rim(row >= 0 && row < shape_.height, left, columns, shape_.width, input(row), wide_,
             [&](int64_t first, int64_t count, float* to) {
               read_row(x_ + image * strides_.batch + row * strides_.row + first * strides_.column, strides_.channel,
                        strides_.column, count, shape_.channels, to, wide_);
             });
  }

  const RotationShape& shape_;
  const X* const x_;
  const Strides strides_;
  const int64_t run_, wide_, row_;
  const Buffer<float> rows_;  // three of the input, and their sums
  int64_t image_ = -1, left_ = 0, next_ = 0;
};

constexpr int64_t kMeanTileWords = 64 * 1024;

// weight is (O, C, 3): centre, edge, corner.
template <typename X>
void mean_forward(const RotationShape& shape, const X* x, const Strides& x_strides, const float* weight,
                  const float* bias, X* y, const Strides& y_strides, const Threads& threads) {
  using Word = WordOf<X>;
  using Lane = LaneOf<Word>;
  const int64_t run = words_for<Word>(shape.channels), run_lanes = run * kLanesOf<Word>;
  Packed<Word> packed(shape.outputs, 3 * run);
  std::vector<int64_t> columns;
  for (int64_t o = 0; o < shape.outputs; ++o) columns.push_back(o * shape.channels * 3);
  fill_columns(columns);
  std::vector<WeightPlace> places;
  for (int64_t c = 0; c < shape.channels; ++c) {
    for (int64_t kind = 0; kind < 3; ++kind) places.push_back({c * 3 + kind, kind * run_lanes + c});
  }
  threads.for_each(packed.panels.count, [&](int64_t panel) { pack_panel<X>(weight, columns, places, panel, packed); });
  const int64_t padded = packed.panels.total * kLanes;
  const Buffer<float> start = allocate<float>(padded);
  for (int64_t o = 0; o < padded; ++o) start[o] = o < shape.outputs ? bias[o] : 0.0f;

  const Tiles tiles = make_tiles(shape.batch, shape.out_height(), shape.out_width(),
                                 std::max<int64_t>(kMeanTileWords / (3 * run), 4 * kRows), threads.number);
  const bool direct = y_strides.channel == 1 && shape.outputs % kLanes == 0;
  threads.for_each(tiles.count(), [&](int64_t unit) {
    const Tiles::Place at = tiles.place(unit);
    const Buffer<Word> tile = allocate<Word>(at.rows * at.columns * 3 * run);
    Neighbourhoods<X, Lane> source(shape, x, x_strides, run_lanes, at.columns);
    for (int64_t r = 0; r < at.rows; ++r) {
      source.read(at.image, at.top + r, at.left, at.columns,
                  reinterpret_cast<Lane*>(tile.get() + r * at.columns * 3 * run), 3 * run_lanes);
    }
    const Segment segment = {0, 3 * run};
    X* const corner = y + at.image * y_strides.batch + at.top * y_strides.row + at.left * y_strides.column;
    const Buffer<X> result = allocate<X>(direct ? 0 : at.rows * at.columns * padded);
    multiply<false>(packed, 0, packed.panels.count, &segment, 1, at.rows, at.columns, tile.get(), at.columns * 3 * run,
                    3 * run, start.get(), direct ? corner : result.get(), direct ? y_strides.row : at.columns * padded,
                    direct ? y_strides.column : padded);
    for (int64_t r = 0; r < at.rows && !direct; ++r) {
      write_row(result.get() + r * at.columns * padded, padded, at.columns, shape.outputs, corner + r * y_strides.row,
                y_strides.channel, y_strides.column);
    }
  });
}

template <typename X>
void mean_backward_weight(const RotationShape& shape, const X* grad, const Strides& grad_strides, const X* x,
                          const Strides& x_strides, float* grad_weight, const Threads& threads) {
  using Word = WordOf<X>;
  using Lane = LaneOf<Word>;
  constexpr bool kPairs = kLanesOf<Word> == 2;
  const int64_t columns = 3 * shape.channels;
  const int64_t sums_wide = (columns + kLanes - 1) / kLanes * kLanes;
  const int64_t pixel = sums_wide + kLanes, grad_pixel = shape.outputs + kLanes;
  const Tiles tiles = make_tiles(shape.batch, shape.out_height(), shape.out_width(),
                                 std::max<int64_t>(kMeanTileWords / (pixel + grad_pixel), 256), threads.number);
  const int64_t workers = std::min(threads.number, tiles.count());
  const Buffer<float> sums = allocate<float>(workers * shape.outputs * sums_wide);
  threads.for_each(workers, [&](int64_t worker) {
    float* const mine = sums.get() + worker * shape.outputs * sums_wide;
    std::memset(mine, 0, sizeof(float) * shape.outputs * sums_wide);
    const int64_t most = tiles.most_columns(), steps = kPairs ? (most + 1) / 2 : most;
    const Buffer<Word> inputs = allocate<Word>(tiles.most_rows() * steps * pixel);
    const Buffer<Word> grads = allocate<Word>(tiles.most_rows() * steps * grad_pixel);
    const Buffer<Lane> lanes = allocate<Lane>(kPairs ? most * std::max(columns, shape.outputs) : 0);
    Neighbourhoods<X, Lane> source(shape, x, x_strides, shape.channels, most);
    const int64_t last = (worker + 1) * tiles.count() / workers;
    for (int64_t unit = worker * tiles.count() / workers; unit < last; ++unit) {
      const Tiles::Place at = tiles.place(unit);
      const int64_t words = kPairs ? (at.columns + 1) / 2 : at.columns;
      for (int64_t r = 0; r < at.rows; ++r) {
        const X* const from =
            grad + at.image * grad_strides.batch + (at.top + r) * grad_strides.row + at.left * grad_strides.column;
        Word* const input = inputs.get() + r * steps * pixel;
        Word* const pull = grads.get() + r * steps * grad_pixel;
        if constexpr (kPairs) {
          source.read(at.image, at.top + r, at.left, at.columns, lanes.get(), columns);
          pair_pixels(lanes.get(), columns, at.columns, 0, columns, words, input, pixel);
          read_row(from, grad_strides.channel, grad_strides.column, at.columns, shape.outputs, lanes.get(),
                   shape.outputs);
          pair_pixels(lanes.get(), shape.outputs, at.columns, 0, shape.outputs, words, pull, grad_pixel);
        } else {
          source.read(at.image, at.top + r, at.left, at.columns, input, pixel);
          read_row(from, grad_strides.channel, grad_strides.column, at.columns, shape.outputs, pull, grad_pixel);
        }
      }
      multiply_outer(at.rows, words, grads.get(), steps * grad_pixel, grad_pixel, shape.outputs, inputs.get(),
                     steps * pixel, pixel, columns, mine, sums_wide);
    }
  });
  threads.for_each(shape.outputs, [&](int64_t o) {
    for (int64_t c = 0; c < shape.channels; ++c) {
      for (int64_t kind = 0; kind < 3; ++kind) {
        float total = 0.0f;
        for (int64_t worker = 0; worker < workers; ++worker) {
          total += sums[(worker * shape.outputs + o) * sums_wide + kind * shape.channels + c];
        }
        grad_weight[(o * shape.channels + c) * 3 + kind] = total;
      }
    }
  });
}

}  // namespace ROTACUBE_ISA
}  // namespace rotacube::cpu
