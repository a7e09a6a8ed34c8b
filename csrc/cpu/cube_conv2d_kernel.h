// The vector part of the CPU Cube convolution; included once for each instruction set, which no include guard may stop.
//
// The includer defines ROTACUBE_ISA (a namespace), ROTACUBE_TARGET (a function attribute), ROTACUBE_LANES (floats a
// vector), ROTACUBE_MR (pixels) and ROTACUBE_NR (vectors of outputs) of the register tile, and ROTACUBE_PAIRS where
// the instructions of AVX512_BF16 are there.

#if defined(__has_builtin)
#if __has_builtin(__builtin_shufflevector)
#define ROTACUBE_SHUFFLES
#endif
#endif

namespace rotacube::cpu {
namespace ROTACUBE_ISA {

constexpr int kLanes = ROTACUBE_LANES;
constexpr int kPixels = ROTACUBE_MR;
constexpr int kVectors = ROTACUBE_NR;

typedef float Vector __attribute__((vector_size(ROTACUBE_LANES * 4)));
typedef uint32_t Bits __attribute__((vector_size(ROTACUBE_LANES * 4)));
typedef uint16_t Halves __attribute__((vector_size(ROTACUBE_LANES * 2)));

// memcpy, since none of these need lie aligned: one instruction each.
ROTACUBE_TARGET inline Vector load(const void* from) {
  Vector all;
  std::memcpy(&all, from, sizeof(all));
  return all;
}

ROTACUBE_TARGET inline Vector load_floats(const float* from) { return load(from); }

ROTACUBE_TARGET inline Vector load_floats(const BFloat16* from) {
  Halves halves;
  std::memcpy(&halves, from, sizeof(halves));
  return (Vector)(__builtin_convertvector(halves, Bits) << 16);
}

// Rounds to bfloat16, which is then the upper half of each lane; the lower half is zero.
ROTACUBE_TARGET inline Bits round_to_bfloat16(Vector values) {
  const Bits bits = (Bits)values;
  const Bits rounded = bits + 0x7fff + ((bits >> 16) & 1);
  return (values == values ? rounded : bits | 0x400000) & 0xffff0000;
}

ROTACUBE_TARGET inline void store(float* to, Vector values) { std::memcpy(to, &values, sizeof(values)); }

ROTACUBE_TARGET inline void store(BFloat16* to, Vector values) {
#if defined(ROTACUBE_PAIRS)
  const __m256bh halves = _mm512_cvtneps_pbh((__m512)values);
#else
  const Halves halves = __builtin_convertvector(round_to_bfloat16(values) >> 16, Halves);
#endif
  std::memcpy(to, &halves, sizeof(halves));
}

// Adds the products of one word of the left side with a vector of words of the right side.
ROTACUBE_TARGET inline void multiply_add(Vector& sum, float left, Vector right) { sum += left * right; }

#if defined(ROTACUBE_PAIRS)
ROTACUBE_TARGET inline void multiply_add(Vector& sum, Pair left, Vector right) {
  int32_t bits;
  std::memcpy(&bits, &left, sizeof(bits));
  sum = (Vector)_mm512_dpbf16_ps((__m512)sum, (__m512bh)_mm512_set1_epi32(bits), (__m512bh)right);
}
#endif

// One register tile: MR neighbouring pixels times NV vectors of outputs, over all segments.
template <typename X, typename Word, int MR, int NV>
ROTACUBE_TARGET void register_tile(const Segment* segments, int64_t segment_count, const Word* a, int64_t pixel_stride,
                                   const Word* b, const float* bias, X* c, int64_t c_stride) {
  Vector sum[MR][NV];
#pragma GCC unroll 8
  for (int n = 0; n < NV; ++n) {
    const Vector start = load(bias + n * kLanes);
#pragma GCC unroll 16
    for (int m = 0; m < MR; ++m) sum[m][n] = start;
  }
  for (int64_t s = 0; s < segment_count; ++s) {
    const Word* row[MR];
#pragma GCC unroll 16
    for (int m = 0; m < MR; ++m) row[m] = a + segments[s].offset + m * pixel_stride;
    const int64_t length = segments[s].length;
    for (int64_t k = 0; k < length; ++k, b += NV * kLanes) {
      Vector right[NV];
#pragma GCC unroll 8
      for (int n = 0; n < NV; ++n) right[n] = load(b + n * kLanes);
#pragma GCC unroll 16
      for (int m = 0; m < MR; ++m) {
        const Word left = row[m][k];
#pragma GCC unroll 8
        for (int n = 0; n < NV; ++n) multiply_add(sum[m][n], left, right[n]);
      }
    }
  }
#pragma GCC unroll 16
  for (int m = 0; m < MR; ++m) {
#pragma GCC unroll 8
    for (int n = 0; n < NV; ++n) store(c + m * c_stride + n * kLanes, sum[m][n]);
  }
}

template <typename X, typename Word, int MR>
RegisterTile<X, Word>* tile_of(int64_t vectors) {
  if constexpr (kVectors >= 3) {
    if (vectors == 3) return register_tile<X, Word, MR, 3>;
  }
  return vectors == 2 ? register_tile<X, Word, MR, 2> : register_tile<X, Word, MR, 1>;
}

template <typename X, typename Word, int MR = kPixels>
RegisterTile<X, Word>* find_tile(int64_t pixels, int64_t vectors) {
  if constexpr (MR > 1) {
    if (pixels < MR) return find_tile<X, Word, MR - 1>(pixels, vectors);
  }
  return tile_of<X, Word, MR>(vectors);
}

#if defined(ROTACUBE_SHUFFLES)
template <typename Lane, int COUNT>
struct Row {
  typedef Lane Type __attribute__((vector_size(COUNT * sizeof(Lane))));
};

template <int COUNT>
ROTACUBE_TARGET inline void load_row(const float* from, typename Row<float, COUNT>::Type& row) {
  std::memcpy(&row, from, sizeof(row));
}

template <int COUNT>
ROTACUBE_TARGET inline void load_row(const BFloat16* from, typename Row<uint16_t, COUNT>::Type& row) {
  std::memcpy(&row, from, sizeof(row));
}

template <int COUNT>
ROTACUBE_TARGET inline void load_row(const BFloat16* from, typename Row<float, COUNT>::Type& row) {
  typename Row<uint16_t, COUNT>::Type halves;
  std::memcpy(&halves, from, sizeof(halves));
  const auto bits = __builtin_convertvector(halves, typename Row<uint32_t, COUNT>::Type) << 16;
  std::memcpy(&row, &bits, sizeof(row));
}

// Splits groups in blocks of S, from `begin` on, as long as there are so many; returns how far it came.
template <int S, bool BR, typename X, typename Lane, int... I>
ROTACUBE_TARGET inline int64_t split_blocks(const X* from, int64_t begin, int64_t groups, Lane* to, int64_t run,
                                            std::integer_sequence<int, I...>) {
  int64_t g = begin;
  for (; g + S <= groups; g += S) {
    typename Row<std::conditional_t<std::is_same_v<Lane, float>, float, uint16_t>, 4 * S>::Type row;
    load_row<4 * S>(from + 4 * g, row);
    row = __builtin_shufflevector(row, row, (4 * (I % S) + kPhaseOrder[BR][I / S])...);
#pragma GCC unroll 4
    for (int place = 0; place < 4; ++place) {
      const char* part = reinterpret_cast<const char*>(&row) + place * S * sizeof(Lane);
      std::memcpy(to + place * run + g, part, S * sizeof(Lane));
    }
  }
  if constexpr (S > 2) {
    return split_blocks<S / 2, BR>(from, g, groups, to, run, std::make_integer_sequence<int, 2 * S>());
  }
  return g;
}
#endif

template <bool BR, typename X, typename Lane>
ROTACUBE_TARGET inline void split_lanes(const X* from, int64_t groups, Lane* to, int64_t run) {
  int64_t g = 0;
#if defined(ROTACUBE_SHUFFLES)
  constexpr int kBlock = kLanes / static_cast<int>(sizeof(Lane));  // groups that fill a vector
  if constexpr (kBlock > 1) {
    g = split_blocks<kBlock, BR>(from, 0, groups, to, run, std::make_integer_sequence<int, 4 * kBlock>());
  }
#endif
  for (; g < groups; ++g) {
    for (int place = 0; place < 4; ++place) {
      to[place * run + g] = convert<Lane>(from[4 * g + kPhaseOrder[BR][place]]);
    }
  }
  for (; g < run; ++g) {
    for (int place = 0; place < 4; ++place) to[place * run + g] = Lane{};
  }
}

template <typename X, typename Word>
ROTACUBE_TARGET void split_phases(const X* from, int64_t groups, bool bottom_right, Word* to) {
  using Lane = typename Words<Word>::Lane;
  constexpr int64_t kIn = Words<Word>::kLanes;
  const int64_t run = (groups + kIn - 1) / kIn * kIn;
  if (bottom_right) {
    split_lanes<true>(from, groups, reinterpret_cast<Lane*>(to), run);
  } else {
    split_lanes<false>(from, groups, reinterpret_cast<Lane*>(to), run);
  }
}

#if defined(ROTACUBE_SHUFFLES)
// Swaps the off-diagonal halves of two rows that lie S lanes apart in a block that is being transposed.
template <int S, int... LANE>
ROTACUBE_TARGET inline void swap_halves(Vector& upper, Vector& lower, std::integer_sequence<int, LANE...>) {
  const Vector a = upper, b = lower;
  upper = __builtin_shufflevector(a, b, ((LANE & S) ? kLanes + LANE - S : LANE)...);
  lower = __builtin_shufflevector(a, b, ((LANE & S) ? kLanes + LANE : LANE + S)...);
}

template <int S>
ROTACUBE_TARGET inline void transpose(Vector (&block)[kLanes]) {
  if constexpr (S < kLanes) {
#pragma GCC unroll 16
    for (int i = 0; i < kLanes; ++i) {
      if ((i & S) == 0) swap_halves<S>(block[i], block[i + S], std::make_integer_sequence<int, kLanes>());
    }
    transpose<2 * S>(block);
  }
}

// Packs kLanes weights (in memory order) of kLanes outputs: row `places[i].row` of the panel gets weight i of each
// output. Of a pair the first comes first, and clears the second.
template <typename X, typename W, typename Word>
ROTACUBE_TARGET void pack_block(const W* from, int64_t output_stride, const WeightPlace* places, int64_t width,
                                Word* to) {
  Vector block[kLanes];
#pragma GCC unroll 16
  for (int o = 0; o < kLanes; ++o) block[o] = load_floats(from + o * output_stride);
  transpose<1>(block);
#pragma GCC unroll 16
  for (int i = 0; i < kLanes; ++i) {
    Bits bits = (Bits)block[i];
    if constexpr (sizeof(X) < sizeof(W)) bits = round_to_bfloat16(block[i]);
    Word* const row = to + places[i].row / Words<Word>::kLanes * width;
    if constexpr (std::is_same_v<Word, Pair>) {
      if (places[i].row % 2 == 0) {
        bits >>= 16;
      } else {
        bits |= (Bits)load(row);
      }
    }
    std::memcpy(row, &bits, sizeof(bits));
  }
}
#endif

template <typename X, typename W, typename Word>
constexpr Instructions<X, W, Word> kInstructions = {kLanes,
                                                    kPixels,
                                                    kVectors,
                                                    find_tile<X, Word, kPixels>,
                                                    split_phases<X, Word>,
#if defined(ROTACUBE_SHUFFLES)
                                                    pack_block<X, W, Word>};
#else
                                                    nullptr};
#endif

}  // namespace ROTACUBE_ISA
}  // namespace rotacube::cpu

#undef ROTACUBE_SHUFFLES
#undef ROTACUBE_PAIRS
#undef ROTACUBE_ISA
#undef ROTACUBE_TARGET
#undef ROTACUBE_LANES
#undef ROTACUBE_MR
#undef ROTACUBE_NR
