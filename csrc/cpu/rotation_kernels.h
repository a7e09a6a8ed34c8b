// The rotation-invariant convolution; included once for each instruction set.
#include "vector.h"
//
#include "product.h"
//
#include "rows.h"

namespace rotacube::cpu {
namespace ROTACUBE_ISA {

constexpr int64_t kBlock = kIndexOutputs;  // outputs that are computed together
constexpr int kBlockVectors = static_cast<int>(kBlock) / kLanes;

// Calls run(kernel, rotations) with both as compile-time constants.
template <typename Run>
void with_kernel(const RotationShape& shape, const Run& run) {
  using One = std::integral_constant<int, 1>;
  using Four = std::integral_constant<int, 4>;
  const auto with_rotations = [&](auto kernel) { shape.rotations == 1 ? run(kernel, One()) : run(kernel, Four()); };
  if (shape.kernel == 3) return with_rotations(std::integral_constant<int, 3>());
  if (shape.kernel == 5) return with_rotations(std::integral_constant<int, 5>());
  with_rotations(std::integral_constant<int, 7>());
}

// Some lanes' masks to bits of the index word, from bit `first` on.
inline uint32_t bits_of(Signed mask, int first) {
#if ROTACUBE_LANES == 16
  return static_cast<uint32_t>(_mm512_movepi32_mask((__m512i)mask)) << first;
#elif ROTACUBE_LANES == 8
  return static_cast<uint32_t>(_mm256_movemask_ps((__m256)mask)) << first;
#else
  uint32_t bits = 0;
  for (int i = 0; i < kLanes; ++i) bits |= (static_cast<uint32_t>(mask[i]) & 1u) << (first + i);
  return bits;
#endif
}

// One row of outputs, a block of them, from K rows of products (column, tap, output): sums for each rotation, their
// maximum, and which it was.
template <int K, int ROTATIONS, typename X>
void combine_row(const float* const* rows, int64_t columns, const float* bias, X* to, int64_t column_stride,
                 int32_t* index, int64_t index_stride) {
  constexpr int64_t kTaps = K * K;
  constexpr int64_t kCentre = kTaps / 2;
  for (int64_t c = 0; c < columns; ++c, to += column_stride) {
    uint32_t word = 0;
#pragma GCC unroll 4
    for (int v = 0; v < kBlockVectors; ++v) {
      const int64_t at = c * kTaps * kBlock + v * kLanes;
      const Vector centre = load(rows[K / 2] + at + (K / 2 * kTaps + kCentre) * kBlock);
      Vector best{};
      Signed low{}, high{};
#pragma GCC unroll 4
      for (int r = 0; r < ROTATIONS; ++r) {
        Vector sum = centre;
        for (int row = 0; row < K; ++row) {
          for (int column = 0; column < K; ++column) {
            if (row == K / 2 && column == K / 2) continue;
            sum += load(rows[row] + at + (column * kTaps + tap_at(r, row, column, K)) * kBlock);
          }
        }
        if (r == 0) {
          best = sum;
        } else {
          const Signed better = (Signed)((sum > best) | (sum != sum));  // what is no number stays
          best = better ? sum : best;
          low = r & 1 ? low | better : low & ~better;
          high = r & 2 ? high | better : high & ~better;
        }
      }
      store(to + v * kLanes, best + load(bias + v * kLanes));
      word |= bits_of(low, v * kLanes) | bits_of(high, 16 + v * kLanes);
    }
    if (index != nullptr) index[c * index_stride] = static_cast<int32_t>(word);
  }
}

// Whether rows of x can be read as words where they lie.
template <typename Word, typename X>
bool readable_in_place(const X* x, const Strides& strides, int64_t channels) {
  if constexpr (std::is_same_v<Word, X>) return strides.channel == 1;
  if constexpr (!std::is_same_v<Word, Pair>) return false;
  const auto even = [](int64_t number) { return number % 2 == 0; };
  return strides.channel == 1 && even(channels) && even(strides.column) && even(strides.row) && even(strides.batch) &&
         reinterpret_cast<uintptr_t>(x) % sizeof(Pair) == 0;
}

// The right sides of the forward pass: for each block of outputs, its weights tap by tap.
template <typename X, typename W, typename Word>
std::vector<Packed<Word>> pack_taps(const RotationShape& shape, const W* weight, const Strides& strides,
                                    const Threads& threads) {
  const int64_t kernel = shape.kernel, taps = kernel * kernel;
  const int64_t blocks = (shape.outputs + kBlock - 1) / kBlock;
  const int64_t words = words_for<Word>(shape.channels), tap_rows = words * kLanesOf<Word>;
  std::vector<WeightPlace> places;
  for (int64_t c = 0; c < shape.channels; ++c) {
    for (int64_t tap = 0; tap < taps; ++tap) {
      places.push_back(
          {c * strides.channel + tap / kernel * strides.row + tap % kernel * strides.column, tap * tap_rows + c});
    }
  }
  sort_by_memory(places);
  std::vector<Packed<Word>> packed;
  for (int64_t block = 0; block < blocks; ++block) packed.emplace_back(taps * kBlock, words);
  threads.for_each(blocks * kBlockVectors, [&](int64_t unit) {
    Packed<Word>& block = packed[unit / kBlockVectors];
    struct Target {
      Word* first;
      int64_t width;
    };
    std::vector<Target> vectors;  // of the block: where they begin, and how wide their panels are
    for (int64_t panel = 0; panel < block.panels.count; ++panel) {
      for (int64_t v = 0; v < block.panels.vectors(panel); ++v) {
        vectors.push_back({block.panel(panel) + v * kLanes, block.panels.vectors(panel) * kLanes});
      }
    }
    int64_t columns[kLanes];
    for (int64_t i = 0; i < kLanes; ++i) {
      const int64_t o = unit * kLanes + i;
      columns[i] = o < shape.outputs ? o * strides.batch : -1;
    }
    pack_vector<X, W, Word>(weight, columns, places, [&](int64_t row) {
      const Target& target = vectors[row / tap_rows * kBlockVectors + unit % kBlockVectors];
      return target.first + row % tap_rows / kLanesOf<Word> * target.width;
    });
  });
  return packed;
}

template <int K, int ROTATIONS, typename X>
void rotation_rows(const RotationShape& shape, const X* x, const Strides& x_strides,
                   const std::vector<Packed<WordOf<X>>>& packed, const float* start, X* y, const Strides& y_strides,
                   int32_t* index, const Threads& threads) {
  using Word = WordOf<X>;
  using Lane = LaneOf<Word>;
  constexpr int64_t kTaps = K * K;
  constexpr int64_t kPixel = kTaps * kBlock;  // products of an input pixel
  const int64_t blocks = static_cast<int64_t>(packed.size());
  const int64_t words = words_for<Word>(shape.channels), lanes_wide = words * kLanesOf<Word>;

  // Strips whose ring of rows fits L2; bands only where the blocks are too few for all threads.
  constexpr int64_t kRingFloats = 112 * 1024;
  const int64_t height = shape.out_height(), width = shape.out_width();
  const int64_t most = std::max<int64_t>(kRingFloats / (K * kPixel) - (K - 1), 32);
  Tiles tiles = {height, width, shape.batch, 1, (width + most - 1) / most};
  while ((tiles.count() * blocks) % threads.number != 0 && tiles.count() * blocks < 8 * threads.number &&
         tiles.rows < height) {
    ++tiles.rows;
  }
  const bool in_place = readable_in_place<Word>(x, x_strides, shape.channels);
  const Segment segment = {0, words};
  threads.for_each(tiles.count() * blocks, [&](int64_t unit) {
    const Tiles::Place at = tiles.place(unit / blocks);
    const int64_t block = unit % blocks;
    const int64_t outputs = std::min(kBlock, shape.outputs - block * kBlock);
    const int64_t left = at.left - shape.padding;  // the strip's first input column
    const int64_t begin = std::clamp<int64_t>(-left, 0, at.columns + K - 1);
    const int64_t end = std::clamp<int64_t>(shape.width - left, begin, at.columns + K - 1);
    const int64_t ring_row = (at.columns + K - 1) * kPixel;
    const Buffer<float> ring = allocate<float>(K * ring_row);
    const Buffer<Word> line = allocate<Word>(in_place ? 0 : (end - begin) * words);
    const bool direct = y_strides.channel == 1 && outputs == kBlock;
    const Buffer<X> result = allocate<X>(direct ? 0 : at.columns * kBlock);
    std::memset(ring.get(), 0, sizeof(float) * K * ring_row);  // the rim stays so

    int64_t next = at.top - shape.padding;  // the input row whose products are not there yet
    const int64_t first = next;
    for (int64_t r = 0; r < at.rows; ++r) {
      for (; next < first + r + K; ++next) {
        float* const products = ring.get() + (next - first) % K * ring_row;
        if (next < 0 || next >= shape.height || end == begin) {
          std::memset(products, 0, sizeof(float) * ring_row);
          continue;
        }
        const X* const from = x + at.image * x_strides.batch + next * x_strides.row + (left + begin) * x_strides.column;
        const Word* a = line.get();
        int64_t a_stride = words;
        if (in_place) {
          a = reinterpret_cast<const Word*>(from);
          a_stride = x_strides.column / kLanesOf<Word>;
        } else {
          Lane* const lanes = reinterpret_cast<Lane*>(line.get());
          if (lanes_wide > shape.channels) {
            for (int64_t c = 0; c < end - begin; ++c) lanes[c * lanes_wide + shape.channels] = Lane{};
          }
          read_row(from, x_strides.channel, x_strides.column, end - begin, shape.channels, lanes, lanes_wide);
        }
        multiply<false>(packed[block], 0, packed[block].panels.count, &segment, 1, 1, end - begin, a, 0, a_stride,
                        nullptr, products + begin * kPixel, 0, kPixel);
      }
      const float* rows[K];
      for (int i = 0; i < K; ++i) rows[i] = ring.get() + (r + i) % K * ring_row;
      X* const to = y + at.image * y_strides.batch + block * kBlock * y_strides.channel + (at.top + r) * y_strides.row +
                    at.left * y_strides.column;
      int32_t* const words_to =
          index == nullptr ? nullptr : index + ((at.image * height + at.top + r) * width + at.left) * blocks + block;
      combine_row<K, ROTATIONS>(rows, at.columns, start + block * kBlock, direct ? to : result.get(),
                                direct ? y_strides.column : kBlock, words_to, blocks);
      if (!direct) {
        write_row(result.get(), kBlock, at.columns, outputs, to, y_strides.channel, y_strides.column);
      }
    }
  });
}

template <typename X, typename W>
void rotation_forward(const RotationShape& shape, const X* x, const Strides& x_strides, const W* weight,
                      const Strides& weight_strides, const W* bias, X* y, const Strides& y_strides, int32_t* index,
                      const Threads& threads) {
  const std::vector<Packed<WordOf<X>>> packed = pack_taps<X, W, WordOf<X>>(shape, weight, weight_strides, threads);
  const Buffer<float> start = allocate<float>(static_cast<int64_t>(packed.size()) * kBlock);
  for (int64_t o = 0; o < static_cast<int64_t>(packed.size()) * kBlock; ++o) {
    start[o] = o < shape.outputs && bias != nullptr ? widen(convert<X>(bias[o])) : 0.0f;
  }
  with_kernel(shape, [&](auto kernel, auto rotations) {
    rotation_rows<kernel.value, rotations.value>(shape, x, x_strides, packed, start.get(), y, y_strides, index,
                                                 threads);
  });
}

// One pixel's gradient, a block of outputs, to the rotation that each belongs to: ROTATIONS blocks, zeros elsewhere.
template <int ROTATIONS>
inline void route(const float* grad, uint32_t word, float* to) {
#pragma GCC unroll 4
  for (int v = 0; v < kBlockVectors; ++v) {
    const Bits bits = (Bits)load(grad + v * kLanes);
    if constexpr (ROTATIONS == 1) {
      store(to + v * kLanes, (Vector)bits);
    } else {
      Bits lane;
      for (int i = 0; i < kLanes; ++i) lane[i] = 1u << (v * kLanes + i);
      const Bits low = (Bits)((lane & word) != 0), high = (Bits)((lane & (word >> 16)) != 0);
      store(to + v * kLanes, (Vector)(bits & ~low & ~high));
      store(to + kBlock + v * kLanes, (Vector)(bits & low & ~high));
      store(to + 2 * kBlock + v * kLanes, (Vector)(bits & ~low & high));
      store(to + 3 * kBlock + v * kLanes, (Vector)(bits & low & high));
    }
  }
}

// The gradients of a pixel's products, tap by tap: gathered from where the rotations added them. rows[i] is the i-th
// row of routed gradients that the pixel reaches.
template <int K, int ROTATIONS>
inline void gather_taps(const float* const* rows, int64_t column, float* to) {
  constexpr int64_t kRouted = ROTATIONS * kBlock;
#pragma GCC unroll 4
  for (int v = 0; v < kBlockVectors; ++v) {
    Vector sums[K * K] = {};
    for (int row = 0; row < K; ++row) {
      for (int across = 0; across < K; ++across) {
        const float* const from = rows[K - 1 - row] + (column + K - 1 - across) * kRouted + v * kLanes;
#pragma GCC unroll 4
        for (int r = 0; r < ROTATIONS; ++r) sums[tap_at(r, row, across, K)] += load(from + r * kBlock);
      }
    }
    for (int tap = 0; tap < K * K; ++tap) store(to + tap * kBlock + v * kLanes, sums[tap]);
  }
}

// The right sides for the gradient of x: for each block of outputs, a row for each tap and output.
template <typename X, typename W, typename Word>
std::vector<Packed<Word>> pack_channels(const RotationShape& shape, const W* weight, const Strides& strides,
                                        const Threads& threads) {
  const int64_t kernel = shape.kernel, taps = kernel * kernel;
  const int64_t blocks = (shape.outputs + kBlock - 1) / kBlock;
  std::vector<int64_t> columns;
  for (int64_t c = 0; c < shape.channels; ++c) columns.push_back(c * strides.channel);
  fill_columns(columns);
  std::vector<Packed<Word>> packed;
  for (int64_t block = 0; block < blocks; ++block) packed.emplace_back(shape.channels, words_for<Word>(taps * kBlock));
  const int64_t panels = packed.empty() ? 0 : packed[0].panels.count;
  threads.for_each(blocks * panels, [&](int64_t unit) {
    Packed<Word>& block = packed[unit / panels];
    const int64_t first = unit / panels * kBlock, last = std::min(first + kBlock, shape.outputs);
    std::vector<WeightPlace> places;
    for (int64_t o = first; o < last; ++o) {
      for (int64_t tap = 0; tap < taps; ++tap) {
        places.push_back(
            {o * strides.batch + tap / kernel * strides.row + tap % kernel * strides.column, tap * kBlock + o - first});
      }
    }
    sort_by_memory(places);
    if (last < first + kBlock) {
      const int64_t vectors = block.panels.vectors(unit % panels);
      std::memset(block.panel(unit % panels), 0, sizeof(Word) * vectors * kLanes * block.depth);
    }
    pack_panel<X>(weight, columns, places, unit % panels, block);
  });
  return packed;
}

// What the threads have summed of the weight's gradient: a line for each block, tap and output, of whole vectors.
struct WeightSums {
  int64_t workers;
  int64_t wide;
  Buffer<float> sums;
};

template <int K, int ROTATIONS, typename X>
WeightSums rotation_gradients(const RotationShape& shape, const X* grad, const Strides& grad_strides,
                              const int32_t* index, const X* x, const Strides& x_strides,
                              const std::vector<Packed<WordOf<X>>>& packed, X* grad_x, const Strides& grad_x_strides,
                              bool want_weight, const Threads& threads) {
  using Word = WordOf<X>;
  using Lane = LaneOf<Word>;
  constexpr bool kPairs = kLanesOf<Word> == 2;
  constexpr int64_t kTaps = K * K;
  constexpr int64_t kPixel = kTaps * kBlock;
  constexpr int64_t kGap = kLanes;  // words between pixels, lest those of a column share one set of the cache
  const int64_t blocks = (shape.outputs + kBlock - 1) / kBlock;

  constexpr int64_t kTilePixels = 192, kTileColumns = 32;
  const int64_t rows_wanted = std::max<int64_t>(kTilePixels / std::min(kTileColumns, shape.width), 1);
  Tiles tiles = {shape.height, shape.width, shape.batch, (shape.height + rows_wanted - 1) / rows_wanted,
                 (shape.width + kTileColumns - 1) / kTileColumns};
  while (tiles.count() % threads.number != 0 && tiles.count() < 8 * threads.number && tiles.rows < shape.height) {
    ++tiles.rows;
  }
  const int64_t workers = std::min(threads.number, tiles.count());
  const int64_t wide = (shape.channels + kLanes - 1) / kLanes * kLanes;
  const int64_t weight_sums = want_weight ? blocks * kPixel * wide : 0;
  WeightSums result = {workers, wide, allocate<float>(workers * weight_sums)};
  const int64_t most_columns = tiles.most_columns(), most_rows = tiles.most_rows();
  const int64_t steps = kPairs ? (most_columns + 1) / 2 : most_columns;  // words of a tile's row, in sums over pixels
  threads.for_each(workers, [&](int64_t worker) {
    float* const mine = result.sums.get() + worker * weight_sums;
    if (weight_sums > 0) std::memset(mine, 0, sizeof(float) * weight_sums);
    const int64_t reach = K - 1;
    const int64_t routed_row = (most_columns + reach) * ROTATIONS * kBlock;
    const Buffer<float> routed = allocate<float>((most_rows + reach) * routed_row);
    const Buffer<float> line = allocate<float>((most_columns + reach) * kBlock);
    // Gradients of products, as the left side for x (a pixel's words) and for the weight (a word of pixels).
    const int64_t taps_pixel = kPixel / kLanesOf<Word> + kGap;
    const int64_t steps_pixel = kPixel + kGap, x_pixel = wide + kGap;
    const Buffer<Word> taps = allocate<Word>(most_rows * most_columns * taps_pixel);
    const Buffer<Word> paired = allocate<Word>(kPairs ? most_rows * steps * steps_pixel : 0);
    const Buffer<Word> inputs = allocate<Word>(want_weight ? most_rows * steps * x_pixel : 0);
    const Buffer<Lane> lanes = allocate<Lane>(kPairs ? most_columns * std::max(shape.channels, kPixel) : 0);
    const Buffer<float> sums = allocate<float>(grad_x != nullptr ? most_rows * most_columns * wide : 0);
    const Buffer<float> one_pixel = allocate<float>(kPixel);
    const int64_t last = (worker + 1) * tiles.count() / workers;
    for (int64_t unit = worker * tiles.count() / workers; unit < last; ++unit) {
      const Tiles::Place at = tiles.place(unit);
      const int64_t words = kPairs ? (at.columns + 1) / 2 : at.columns;
      for (int64_t r = 0; r < at.rows && want_weight; ++r) {
        const X* const from =
            x + at.image * x_strides.batch + (at.top + r) * x_strides.row + at.left * x_strides.column;
        Word* const to = inputs.get() + r * steps * x_pixel;
        if constexpr (kPairs) {
          read_row(from, x_strides.channel, x_strides.column, at.columns, shape.channels, lanes.get(), shape.channels);
          pair_pixels(lanes.get(), shape.channels, at.columns, 0, shape.channels, words, to, x_pixel);
        } else {
          read_row(from, x_strides.channel, x_strides.column, at.columns, shape.channels, to, x_pixel);
        }
      }
      for (int64_t block = 0; block < blocks; ++block) {
        const int64_t outputs = std::min(kBlock, shape.outputs - block * kBlock);
        // The outputs that these pixels reach: `reach` more to each side, less the padding.
        const int64_t first_row = at.top + shape.padding - reach, first_column = at.left + shape.padding - reach;
        for (int64_t r = 0; r < at.rows + reach; ++r) {
          const int64_t row = first_row + r;
          with_rim(row >= 0 && row < shape.out_height(), first_column, at.columns + reach, shape.out_width(),
                   routed.get() + r * routed_row, ROTATIONS * kBlock, [&](int64_t left, int64_t count, float* to) {
                     if (outputs < kBlock) std::memset(line.get(), 0, sizeof(float) * count * kBlock);
                     read_row(grad + at.image * grad_strides.batch + block * kBlock * grad_strides.channel +
                                  row * grad_strides.row + left * grad_strides.column,
                              grad_strides.channel, grad_strides.column, count, outputs, line.get(), kBlock);
                     const int32_t* const words_at =
                         index == nullptr
                             ? nullptr
                             : index + ((at.image * shape.out_height() + row) * shape.out_width() + left) * blocks +
                                   block;
                     for (int64_t c = 0; c < count; ++c) {
                       const uint32_t word = ROTATIONS == 1 ? 0 : static_cast<uint32_t>(words_at[c * blocks]);
                       route<ROTATIONS>(line.get() + c * kBlock, word, to + c * ROTATIONS * kBlock);
                     }
                   });
        }
        for (int64_t r = 0; r < at.rows; ++r) {
          const float* rows[K];
          for (int i = 0; i < K; ++i) rows[i] = routed.get() + (r + i) * routed_row;
          for (int64_t c = 0; c < at.columns; ++c) {
            Word* const to = taps.get() + (r * most_columns + c) * taps_pixel;
            if constexpr (kPairs) {
              gather_taps<K, ROTATIONS>(rows, c, one_pixel.get());
              for (int64_t i = 0; i < kPixel; i += kLanes) {
                store(reinterpret_cast<BFloat16*>(to) + i, load(one_pixel.get() + i));
              }
              std::memcpy(lanes.get() + c * kPixel, to, sizeof(Lane) * kPixel);
            } else {
              gather_taps<K, ROTATIONS>(rows, c, to);
            }
          }
#if defined(ROTACUBE_PAIRS)
          if constexpr (kPairs) {
            if (want_weight) {
              pair_pixels(lanes.get(), kPixel, at.columns, 0, kPixel, words, paired.get() + r * steps * steps_pixel,
                          steps_pixel);
            }
          }
#endif
        }
        if (grad_x != nullptr) {
          const Segment segment = {0, kPixel / kLanesOf<Word>};
          const auto run = [&](auto add) {
            multiply<add.value>(packed[block], 0, packed[block].panels.count, &segment, 1, at.rows, at.columns,
                                taps.get(), most_columns * taps_pixel, taps_pixel, nullptr, sums.get(),
                                most_columns * wide, wide);
          };
          block == 0 ? run(std::false_type()) : run(std::true_type());
        }
        if (want_weight) {
          multiply_outer(at.rows, words, kPairs ? paired.get() : taps.get(),
                         kPairs ? steps * steps_pixel : most_columns * taps_pixel, kPairs ? steps_pixel : taps_pixel,
                         kPixel, inputs.get(), steps * x_pixel, x_pixel, shape.channels, mine + block * kPixel * wide,
                         wide);
        }
      }
      for (int64_t r = 0; r < at.rows && grad_x != nullptr; ++r) {
        write_row(sums.get() + r * most_columns * wide, wide, at.columns, shape.channels,
                  grad_x + at.image * grad_x_strides.batch + (at.top + r) * grad_x_strides.row +
                      at.left * grad_x_strides.column,
                  grad_x_strides.channel, grad_x_strides.column);
      }
    }
  });
  return result;
}

template <typename X, typename W>
void rotation_backward(const RotationShape& shape, const X* grad, const Strides& grad_strides, const int32_t* index,
                       const X* x, const Strides& x_strides, const W* weight, const Strides& weight_strides, X* grad_x,
                       const Strides& grad_x_strides, W* grad_weight, const Threads& threads) {
  std::vector<Packed<WordOf<X>>> packed;
  if (grad_x != nullptr) packed = pack_channels<X, W, WordOf<X>>(shape, weight, weight_strides, threads);
  WeightSums all;
  with_kernel(shape, [&](auto kernel, auto rotations) {
    all = rotation_gradients<kernel.value, rotations.value>(shape, grad, grad_strides, index, x, x_strides, packed,
                                                            grad_x, grad_x_strides, grad_weight != nullptr, threads);
  });
  if (grad_weight == nullptr) return;
  const int64_t taps = shape.kernel * shape.kernel;
  const int64_t lines = (shape.outputs + kBlock - 1) / kBlock * kBlock * taps;
  threads.for_each(shape.outputs, [&](int64_t o) {
    for (int64_t tap = 0; tap < taps; ++tap) {
      const int64_t line = (o / kBlock * taps + tap) * kBlock + o % kBlock;
      for (int64_t c = 0; c < shape.channels; ++c) {
        float total = 0.0f;
        for (int64_t worker = 0; worker < all.workers; ++worker) {
          total += all.sums[(worker * lines + line) * all.wide + c];
        }
        grad_weight[(o * shape.channels + c) * taps + tap] = convert<W>(total);
      }
    }
  });
}

}  // namespace ROTACUBE_ISA
}  // namespace rotacube::cpu
