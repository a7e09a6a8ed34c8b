// The rotation-invariant convolution, forward; included once for each instruction set.
// clang-format off: each of these needs those before it
#include "vector.h"
#include "product.h"
#include "rows.h"
// clang-format on

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
      places.push_back({c * strides.channel + tap_offset(strides, tap, kernel), tap * tap_rows + c});
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

}  // namespace ROTACUBE_ISA
}  // namespace rotacube::cpu

#include "rotation_backward.h"
