// The gradients of the rotation-invariant convolution; included once for each instruction set, by rotation_kernels.h.

namespace rotacube::cpu {
namespace ROTACUBE_ISA {

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
        places.push_back({o * strides.batch + tap_offset(strides, tap, kernel), tap * kBlock + o - first});
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
