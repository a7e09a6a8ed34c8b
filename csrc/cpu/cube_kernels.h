// The Cube convolution; included once for each instruction set.
// clang-format off: each of these needs those before it
#include "vector.h"
#include "product.h"
#include "rows.h"
#include "lattice.h"
// clang-format on

namespace rotacube::cpu {
namespace ROTACUBE_ISA {

// Tiles whose words fit L2.
inline Tiles cube_tiles(const CubeShape& shape, int64_t words_a_pixel, int64_t least, int64_t threads) {
  constexpr int64_t kTileWords = 64 * 1024;  // a quarter of a megabyte
  return make_tiles(shape.batch, shape.height, shape.width, std::max<int64_t>(kTileWords / words_a_pixel, least),
                    threads);
}

// Threads share the tiles. But with less of an image than of weights they share the outputs, so that each has a part of
// the weights for itself.
inline bool less_image_than_weights(const CubeShape& shape) {
  return shape.batch * shape.height * shape.width * 4 <= shape.outputs * shape.kernel * shape.kernel;
}

template <typename X, typename W>
void cube_forward(const CubeShape& shape, const CubeInput<X>& input, const W* weight, const Strides& weight_strides,
                  const W* bias, X* y, const Strides& strides, const Threads& threads) {
  using Word = WordOf<X>;
  using Lane = LaneOf<Word>;
  const CubePlan plan = make_cube_plan(shape);
  const int64_t groups = shape.channels / 4;
  const int64_t run = words_for<Word>(groups);  // words
  const Lattice<X, Lane> lattice(shape, input, run * kLanesOf<Word>);

  Packed<Word> packed(shape.outputs, shape.kernel * shape.kernel * run);
  std::vector<int64_t> columns;
  for (int64_t o = 0; o < shape.outputs; ++o) columns.push_back(o * weight_strides.batch);
  fill_columns(columns);
  std::vector<WeightPlace> places;
  int64_t row = 0;
  for (const CubePlan::Run& one : plan.runs) {
    for (const int tap : one.taps) {
      for (int64_t g = 0; g < groups; ++g) {
        places.push_back({tap_offset(weight_strides, tap, shape.kernel) + g * weight_strides.channel, row + g});
      }
      row += run * kLanesOf<Word>;
    }
  }
  sort_by_memory(places);
  threads.for_each(packed.panels.count, [&](int64_t panel) { pack_panel<X>(weight, columns, places, panel, packed); });
  const int64_t padded = packed.panels.total * kLanes;
  const Buffer<float> start = allocate<float>(padded);
  for (int64_t o = 0; o < padded; ++o) {
    start[o] = bias != nullptr && o < shape.outputs ? widen(convert<X>(bias[o])) : 0.0f;
  }

  const bool small = less_image_than_weights(shape);
  const Tiles tiles = cube_tiles(shape, 4 * run, small ? 256 : 4 * kRows, small ? 1 : threads.number);
  const int64_t wanted = small ? threads.number : threads.number / tiles.count();
  const int64_t parts = std::clamp<int64_t>(wanted, 1, packed.panels.count);
  const int64_t pixel = 4 * run, rim = plan.before + plan.after;
  const bool direct = strides.channel == 1 && shape.outputs % kLanes == 0;
  threads.for_each(tiles.count() * parts, [&](int64_t unit) {
    const Tiles::Place at = tiles.place(unit / parts);
    const int64_t first = unit % parts * packed.panels.count / parts;
    const int64_t last = (unit % parts + 1) * packed.panels.count / parts;
    const int64_t row_words = (at.columns + rim) * pixel;
    const Buffer<Word> tile = allocate<Word>((at.rows + rim) * row_words);
    for (int64_t r = 0; r < at.rows + rim; ++r) {
      lattice.read(at.image, at.top + r - plan.before, at.left - plan.before, at.columns + rim,
                   reinterpret_cast<Lane*>(tile.get() + r * row_words), pixel * kLanesOf<Word>);
    }
    std::vector<Segment> segments;
    for (const CubePlan::Run& one : plan.runs) {
      segments.push_back({one.down * row_words + one.right * pixel + one.place * run, one.places() * run});
    }
    const int64_t from_output = packed.panels.first(first) * kLanes;
    const int64_t outputs = std::min(packed.panels.first(last) * kLanes, shape.outputs) - from_output;
    X* const corner =
        y + at.image * strides.batch + at.top * strides.row + at.left * strides.column + from_output * strides.channel;
    const int64_t wide = packed.panels.first(last) * kLanes - from_output;
    const Buffer<X> result = allocate<X>(direct ? 0 : at.rows * at.columns * wide);
    multiply<false>(packed, first, last, segments.data(), static_cast<int64_t>(segments.size()), at.rows, at.columns,
                    tile.get() + plan.before * (row_words + pixel), row_words, pixel, start.get() + from_output,
                    direct ? corner : result.get(), direct ? strides.row : at.columns * wide,
                    direct ? strides.column : wide);
    if (direct) return;
    for (int64_t r = 0; r < at.rows; ++r) {
      write_row(result.get() + r * at.columns * wide, wide, at.columns, outputs, corner + r * strides.row,
                strides.channel, strides.column);
    }
  });
}

template <typename X, typename W>
void cube_backward_input(const CubeShape& shape, const CubeInput<X>& input, const X* grad, const Strides& grad_strides,
                         const W* weight, const Strides& weight_strides, X* grad_x, const Strides& strides,
                         X* grad_mask, const Threads& threads) {
  using Word = WordOf<X>;
  using Lane = LaneOf<Word>;
  const CubePlan plan = make_cube_plan(shape);
  const int64_t groups = shape.channels / 4;
  const Lattice<X, float> lattice(shape, input, groups);

  // Every run of taps is a product of its own: the gradient of some outputs, times the weights of its phases.
  const int64_t pixel = words_for<Word>(shape.outputs);
  std::vector<WeightPlace> places;
  for (int64_t o = 0; o < shape.outputs; ++o) places.push_back({o * weight_strides.batch, o});
  std::vector<Packed<Word>> packed;
  for (const CubePlan::Run& one : plan.runs) packed.emplace_back(one.places() * groups, pixel);
  const auto pack = [&](int64_t index) {
    std::vector<int64_t> columns;
    for (const int tap : plan.runs[index].taps) {
      for (int64_t g = 0; g < groups; ++g) {
        columns.push_back(tap_offset(weight_strides, tap, shape.kernel) + g * weight_strides.channel);
      }
    }
    fill_columns(columns);
    threads.for_each(packed[index].panels.count,
                     [&](int64_t panel) { pack_panel<X>(weight, columns, places, panel, packed[index]); });
  };
  for (std::size_t i = 0; i < packed.size(); ++i) pack(static_cast<int64_t>(i));

  const Tiles tiles = cube_tiles(shape, pixel + shape.channels, 4 * kRows, threads.number);
  const int64_t rim = plan.before + plan.after;
  const int64_t wide = shape.channels + kLanes;  // a run's last vector may reach past its end, and adds nothing there
  threads.for_each(tiles.count(), [&](int64_t unit) {
    const Tiles::Place at = tiles.place(unit);
    const int64_t row_words = (at.columns + rim) * pixel;
    const Buffer<Word> tile = allocate<Word>((at.rows + rim) * row_words);
    for (int64_t r = 0; r < at.rows + rim; ++r) {
      const int64_t row = at.top + r - plan.after;
      const X* const from = grad + at.image * grad_strides.batch + row * grad_strides.row;
      Lane* const lanes = reinterpret_cast<Lane*>(tile.get() + r * row_words);
      const int64_t stride = pixel * kLanesOf<Word>;
      with_rim(row >= 0 && row < shape.height, at.left - plan.after, at.columns + rim, shape.width, lanes, stride,
               [&](int64_t first, int64_t count, Lane* to) {
                 if (stride > shape.outputs) {
                   for (int64_t c = 0; c < count; ++c) to[c * stride + shape.outputs] = Lane{};
                 }
                 read_row(from + first * grad_strides.column, grad_strides.channel, grad_strides.column, count,
                          shape.outputs, to, stride);
               });
    }
    const Buffer<float> sums = allocate<float>(at.rows * at.columns * wide);
    std::memset(sums.get(), 0, sizeof(float) * at.rows * at.columns * wide);
    for (std::size_t i = 0; i < packed.size(); ++i) {
      const CubePlan::Run& one = plan.runs[i];
      const Segment segment = {-one.down * row_words - one.right * pixel, pixel};
      multiply<true>(packed[i], 0, packed[i].panels.count, &segment, 1, at.rows, at.columns,
                     tile.get() + plan.after * (row_words + pixel), row_words, pixel, nullptr,
                     sums.get() + one.place * groups, at.columns * wide, wide);
    }
    if (input.mask != nullptr) {
      for (int64_t p = 0; p < at.rows * at.columns; ++p) {
        const int64_t row = at.top + p / at.columns, column = at.left + p % at.columns;
        const X* const from =
            input.x + at.image * input.strides.batch + row * input.strides.row + column * input.strides.column;
        for (int place = 0; place < 4; ++place) {
          float* const lanes = sums.get() + p * wide + place * groups;
          if (grad_mask != nullptr) {
            float total = 0.0f;
            for (int64_t g = 0; g < groups; ++g) {
              total += lanes[g] * widen(from[lattice.channel(place, g) * input.strides.channel]);
            }
            const int phase = kPhaseOrder[shape.bottom_right][place];
            grad_mask[((at.image * shape.height + row) * 2 + phase / 2) * 2 * shape.width + 2 * column + phase % 2] =
                convert<X>(total);
          }
          const float factor = lattice.mask(at.image, row, column, place);
          for (int64_t g = 0; g < groups; ++g) lanes[g] *= factor;
        }
      }
    }
    if (grad_x == nullptr) return;
    for (int64_t r = 0; r < at.rows; ++r) {
      const float* from = sums.get() + r * at.columns * wide;
      X* to = grad_x + at.image * strides.batch + (at.top + r) * strides.row + at.left * strides.column;
      if (strides.channel == 1 && input.order == nullptr) {
        for (int64_t c = 0; c < at.columns; ++c, from += wide, to += strides.column) {
          if (shape.bottom_right) {
            merge_phases<true>(from, groups, groups, to);
          } else {
            merge_phases<false>(from, groups, groups, to);
          }
        }
        continue;
      }
      for (int64_t c = 0; c < at.columns; c += kTransposed) {
        const int64_t block = std::min(kTransposed, at.columns - c);
        for (int64_t lane = 0; lane < shape.channels; ++lane) {
          X* const target = to + lattice.channel(lane / groups, lane % groups) * strides.channel + c * strides.column;
          const float* const source = from + c * wide + lane;
          for (int64_t i = 0; i < block; ++i) target[i * strides.column] = convert<X>(source[i * wide]);
        }
      }
    }
  });
}

template <typename X, typename W>
void cube_backward_weight(const CubeShape& shape, const CubeInput<X>& input, const X* grad, const Strides& grad_strides,
                          W* grad_weight, const Threads& threads) {
  using Word = WordOf<X>;
  using Lane = LaneOf<Word>;
  constexpr bool kPairs = kLanesOf<Word> == 2;
  const CubePlan plan = make_cube_plan(shape);
  const int64_t groups = shape.channels / 4;
  const int64_t rim = plan.before + plan.after;
  const Lattice<X, Lane> lattice(shape, input, groups);

  // The sums of one output: a run after the other, each filled up to whole vectors.
  std::vector<int64_t> firsts;
  int64_t sums_wide = 0;
  for (const CubePlan::Run& one : plan.runs) {
    firsts.push_back(sums_wide);
    sums_wide += (one.places() * groups + kLanes - 1) / kLanes * kLanes;
  }
  // Many pixels a tile, since all sums are read and written once for each.
  constexpr int64_t kWeightPixels = 384;
  // A pixel's words, and some between that keep the pixels of a column in different sets of the cache.
  const int64_t pixel = shape.channels + 2 * kLanes, grad_pixel = shape.outputs + kLanes;
  const bool small = less_image_than_weights(shape);
  const Tiles tiles = cube_tiles(shape, pixel + grad_pixel, kWeightPixels, small ? 1 : threads.number);
  const int64_t workers = small ? 1 : std::min(threads.number, tiles.count());
  const int64_t parts = small ? std::min(threads.number, shape.outputs) : 1;
  const Buffer<float> sums = allocate<float>(workers * shape.outputs * sums_wide);
  threads.for_each(workers * parts, [&](int64_t index) {
    const int64_t worker = index / parts;
    const int64_t first_output = index % parts * shape.outputs / parts;
    const int64_t outputs = (index % parts + 1) * shape.outputs / parts - first_output;
    float* const mine = sums.get() + (worker * shape.outputs + first_output) * sums_wide;
    std::memset(mine, 0, sizeof(float) * outputs * sums_wide);
    // Of pairs there are two tiles: for taps an even number of pixels away, and for those an odd number away.
    const int64_t row_words = kPairs ? (tiles.most_columns() + rim) / 2 + 2 : tiles.most_columns() + rim;
    const int64_t grad_words = kPairs ? (tiles.most_columns() + 1) / 2 : tiles.most_columns();
    const int64_t tile_words = (tiles.most_rows() + rim) * row_words * pixel + kLanes;
    const Buffer<Word> tile = allocate<Word>((kPairs ? 2 : 1) * tile_words);
    const Buffer<Word> grads = allocate<Word>(tiles.most_rows() * grad_words * grad_pixel);
    const Buffer<Lane> lanes =
        allocate<Lane>(kPairs ? (tiles.most_columns() + rim) * std::max(shape.channels, shape.outputs) : 0);
    const int64_t last = (worker + 1) * tiles.count() / workers;
    for (int64_t unit = worker * tiles.count() / workers; unit < last; ++unit) {
      const Tiles::Place at = tiles.place(unit);
      for (int64_t r = 0; r < at.rows + rim; ++r) {
        const int64_t row = at.top + r - plan.before, left = at.left - plan.before;
        Word* const to = tile.get() + r * row_words * pixel;
        if constexpr (kPairs) {
          lattice.read(at.image, row, left, at.columns + rim, lanes.get(), shape.channels);
          for (int64_t shift = 0; shift < 2; ++shift) {
            pair_pixels(lanes.get(), shape.channels, at.columns + rim, shift, shape.channels, row_words,
                        to + shift * tile_words, pixel);
          }
        } else {
          lattice.read(at.image, row, left, at.columns + rim, to, pixel);
        }
      }
      for (int64_t r = 0; r < at.rows; ++r) {
        const X* const from = grad + at.image * grad_strides.batch + (at.top + r) * grad_strides.row +
                              at.left * grad_strides.column + first_output * grad_strides.channel;
        Word* const to = grads.get() + r * grad_words * grad_pixel;
        if constexpr (kPairs) {
          read_row(from, grad_strides.channel, grad_strides.column, at.columns, outputs, lanes.get(), outputs);
          pair_pixels(lanes.get(), outputs, at.columns, 0, outputs, (at.columns + 1) / 2, to, grad_pixel);
        } else {
          read_row(from, grad_strides.channel, grad_strides.column, at.columns, outputs, to, grad_pixel);
        }
      }
      for (std::size_t i = 0; i < plan.runs.size(); ++i) {
        const CubePlan::Run& one = plan.runs[i];
        const int64_t shift = one.right + plan.before;
        const Word* from = tile.get() + (one.down + plan.before) * row_words * pixel + one.place * groups;
        from += kPairs ? (shift % 2) * tile_words + (shift + 1) / 2 * pixel : shift * pixel;
        multiply_outer(at.rows, kPairs ? (at.columns + 1) / 2 : at.columns, grads.get(), grad_words * grad_pixel,
                       grad_pixel, outputs, from, row_words * pixel, pixel, one.places() * groups, mine + firsts[i],
                       sums_wide);
      }
    }
  });

  const int64_t taps = shape.kernel * shape.kernel;
  threads.for_each(shape.outputs, [&](int64_t o) {
    for (std::size_t i = 0; i < plan.runs.size(); ++i) {
      for (int64_t lane = 0; lane < plan.runs[i].places() * groups; ++lane) {
        float total = 0.0f;
        for (int64_t worker = 0; worker < workers; ++worker) {
          total += sums[(worker * shape.outputs + o) * sums_wide + firsts[i] + lane];
        }
        const int tap = plan.runs[i].taps[lane / groups];
        grad_weight[(o * groups + lane % groups) * taps + tap] = convert<W>(total);
      }
    }
  });
}

}  // namespace ROTACUBE_ISA
}  // namespace rotacube::cpu
