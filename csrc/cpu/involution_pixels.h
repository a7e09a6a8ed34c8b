// Involution where the channels of a pixel lie together (channels_last), groups of about a vector of channels and
// wider: vectors over channels, each group padded to whole ones; included once for each instruction set, after
// involution_planes.h.
//
// The window and its taps are words. Pairs of bfloat16 hold a pixel and its right neighbour, and two neighbouring taps:
// half as many products, and nothing is widened.

namespace rotacube::cpu {
namespace ROTACUBE_ISA {

template <int K, typename Word>
constexpr int64_t kWindowWords = K * words_for<Word>(K);

// The pixel alone: what lies beyond the window may be infinite.
inline Vector without_neighbour(Vector words) { return (Vector)((Bits)words & 0xffff); }

// P neighbouring pixels, V vectors of channels of one group. rows[u] is the window's left edge for the first pixel, a
// vector a pixel; `next_vector` words on lies the next vector of channels, `next_taps` on the next pixel's taps.
template <int K, int P, int V, typename Word>
inline void involve_pixels(const Word* const (&rows)[K], int64_t next_vector, const Word* taps, int64_t next_taps,
                           Vector (&sums)[P][V]) {
  constexpr int kStep = kLanesOf<Word>, kRowWords = words_for<Word>(K);
#pragma GCC unroll 8
  for (int p = 0; p < P; ++p) {
#pragma GCC unroll 2
    for (int n = 0; n < V; ++n) sums[p][n] = Vector{};
  }
  const auto add_row = [&](int u) __attribute__((always_inline)) {
#pragma GCC unroll 16
    for (int t = 0; t < P + K - 1; ++t) {
#pragma GCC unroll 2
      for (int n = 0; n < V; ++n) {
        const Vector x = load_words(rows[u] + n * next_vector + t * kLanes);
#pragma GCC unroll 8
        for (int p = 0; p < P; ++p) {
          const int v = t - p;
          if (v < 0 || v >= K || v % kStep != 0) continue;
          const Vector factor = kStep == 2 && v == K - 1 ? without_neighbour(x) : x;
          multiply_add(sums[p][n], taps[p * next_taps + u * kRowWords + v / kStep], factor);
        }
      }
    }
  };
  if constexpr (K == 3) {
    add_row(0);
    add_row(1);
    add_row(2);
  } else {
    for (int u = 0; u < K; ++u) add_row(u);
  }
}

// A row of a vector of channels as words, a vector a pixel: `columns` pixels, of which those inside the image are read,
// `next` apart in memory from `from` on, `count` channels of each. The others are zero.
template <typename X>
inline void read_vectors(const X* from, int64_t next, int64_t count, const Inside& inside, int64_t columns, bool,
                         float* to) {
  std::memset(to, 0, sizeof(float) * inside.begin * kLanes);
  for (int64_t i = inside.begin; i < inside.end; ++i, from += next) store(to + i * kLanes, load_some(from, count));
  std::memset(to + inside.end * kLanes, 0, sizeof(float) * (columns - inside.end) * kLanes);
}

// The taps of a window as words. Whole vectors are written, up to one past the end.
template <int K, typename X>
inline void read_taps(const X* from, float* to) {
  for (int i = 0; i < K * K; i += kLanes) store(to + i, load_some(from + i, K * K - i));
}

#if defined(ROTACUBE_PAIRS)
// `goes_on`: the image has one more pixel, the last one's neighbour.
inline void read_vectors(const BFloat16* from, int64_t next, int64_t count, const Inside& inside, int64_t columns,
                         bool goes_on, Pair* to) {
  Bits own{};
  for (int64_t i = -1; i < columns; ++i) {  // the neighbour of pixel i
    const bool there = i + 1 >= inside.begin && (i + 1 < inside.end || (i + 1 == inside.end && goes_on));
    Bits neighbour{};
    if (there) {
      neighbour = (Bits)load_some(from, count);
      from += next;
    }
    const Bits both = own | neighbour;
    if (i >= 0) std::memcpy(to + i * kLanes, &both, sizeof(both));
    own = neighbour >> 16;
  }
}

// A zero ends each row of the window.
template <int K>
inline void read_taps(const BFloat16* from, Pair* to) {
  constexpr int kCount = K * K, kPadded = K * (K + 1), kHalves = 32;
  static_assert(kCount < 2 * kHalves && kPadded <= 2 * kHalves);
  struct Order {
    alignas(64) int16_t from[2 * kHalves];
    constexpr Order() : from() {
      for (int i = 0; i < 2 * kHalves; ++i) {
        const bool tap = i < kPadded && i % (K + 1) < K;
        from[i] = static_cast<int16_t>(tap ? i / (K + 1) * K + i % (K + 1) : 2 * kHalves - 1);  // the last is zero
      }
    }
  };
  static constexpr Order kOrder;
  const auto load_halves = [&](int first) {
    const int count = std::clamp(kCount - first, 0, kHalves);
    const auto wanted = static_cast<__mmask32>((uint64_t{1} << count) - 1);
    return _mm512_maskz_loadu_epi16(wanted, from + (count > 0 ? first : 0));
  };
  const __m512i first = load_halves(0), second = load_halves(kHalves);
#pragma GCC unroll 2
  for (int i = 0; i < kPadded; i += kHalves) {
    const __m512i order = _mm512_load_si512(kOrder.from + i);
    _mm512_storeu_si512(reinterpret_cast<BFloat16*>(to) + i, _mm512_permutex2var_epi16(first, order, second));
  }
}
#endif

template <int K, typename X>
void involution_pixels(const InvolutionShape& shape, const InvolutionTile& tile, const X* x, const X* kernel, X* y,
                       float* scratch, bool past) {
  using Word = WordOf<X>;
  constexpr bool kInPlace = std::is_same_v<X, float>;  // taps are read where they lie
  constexpr int64_t kWords = kWindowWords<K, Word>;
  const int64_t width = shape.channels / shape.groups, group_vectors = (width + kLanes - 1) / kLanes;
  const int64_t channels = tile.groups * width, taps = shape.groups * K * K;
  const int64_t columns = tile.columns + K - 1, vector_words = columns * kLanes;
  const int64_t slot = tile.groups * group_vectors * vector_words;
  const Lie lie = lie_of(shape, shape.channels), kernel_lie = lie_of(shape, taps);
  const X* const image = x + (tile.image * shape.height * shape.width) * shape.channels + tile.first_group * width;
  Word* const ring = reinterpret_cast<Word*>(scratch);
  Word* const row_taps = ring + K * slot;
  X* const stage = reinterpret_cast<X*>(row_taps + (kInPlace ? 0 : tile.groups * tile.columns * kWords + kLanes));

  const auto read_row = [&](int64_t row) {
    Word* to = ring + slot_of(row, K) * slot;
    if (row < 0 || row >= shape.height) return static_cast<void>(std::memset(to, 0, sizeof(Word) * slot));
    const int64_t left = tile.left - K / 2;
    const Inside inside = inside_of(left, columns, shape.width);
    const bool goes_on = left + inside.end < shape.width;
    const X* from = image + (row * shape.width + left + inside.begin) * shape.channels;
    for (int64_t g = 0; g < tile.groups; ++g, from += width) {
      for (int64_t c = 0; c < width; c += kLanes, to += vector_words) {
        read_vectors(from + c, shape.channels, width - c, inside, columns, goes_on, to);
      }
    }
  };

  for (int64_t row = tile.top - K / 2; row < tile.top + K / 2; ++row) read_row(row);
  for (int64_t row = tile.top; row < tile.bottom; ++row) {
    read_row(row + K / 2);
    const Word* rows[K];
    for (int u = 0; u < K; ++u) rows[u] = ring + slot_of(row + u - K / 2, K) * slot;
    const int64_t at = (tile.image * shape.height + row) * shape.width + tile.left;
    const X* const kernel_row = kernel + at * taps + tile.first_group * K * K;
    if constexpr (!kInPlace) {
      Word* to = row_taps;
      for (int64_t g = 0; g < tile.groups; ++g) {
        const X* from = kernel_row + g * K * K;
        for (int64_t i = 0; i < tile.columns; ++i, from += taps, to += kWords) read_taps<K>(from, to);
      }
    }
    X* const y_row = y + at * shape.channels + tile.first_group * width;
    const bool more_taps = row + 1 < tile.bottom, more_x = more_taps && row + K / 2 + 1 < shape.height;
    const X* const next_taps = kernel_row + shape.width * taps;
    const X* const next_x = image + ((row + K / 2 + 1) * shape.width + tile.left) * shape.channels;
    // P pixels; what the next row's will need is asked for group by group, lest the requests queue up.
    const auto involve = [&](int64_t i, auto pixels, auto vectors) {
      constexpr int P = decltype(pixels)::value, V = decltype(vectors)::value;
      X* const to = past ? stage : y_row + i * shape.channels;
      const int64_t next = past ? channels : shape.channels;
      for (int64_t g = 0; g < tile.groups; ++g) {
        if (more_taps) prefetch_row(next_taps + i * taps, kernel_lie, P, tile.groups * K * K, g, tile.groups);
        if (more_x) prefetch_row(next_x + i * shape.channels, lie, P, channels, g, tile.groups);
        for (int64_t n = 0; n < group_vectors; n += V) {
          const Word* windows[K];
          for (int u = 0; u < K; ++u) windows[u] = rows[u] + (g * group_vectors + n) * vector_words + i * kLanes;
          Vector sums[P][V];
          if constexpr (kInPlace) {
            involve_pixels<K, P, V>(windows, vector_words, kernel_row + i * taps + g * K * K, taps, sums);
          } else {
            involve_pixels<K, P, V>(windows, vector_words, row_taps + (g * tile.columns + i) * kWords, kWords, sums);
          }
#pragma GCC unroll 8
          for (int p = 0; p < P; ++p) {
#pragma GCC unroll 2
            for (int m = 0; m < V; ++m) {
              const int64_t first = (n + m) * kLanes;
              store_some(to + p * next + g * width + first, sums[p][m], width - first);
            }
          }
        }
      }
      if (!past) return;
      for (int p = 0; p < P; ++p) copy_past(y_row + (i + p) * shape.channels, stage + p * channels, channels);
    };
    // The last pixels of a row may repeat some of those before them.
    const auto involve_row = [&](auto pixels, auto vectors) {
      constexpr int64_t P = decltype(pixels)::value;
      for (int64_t i = 0; i < tile.columns; i += P) involve(std::min(i, tile.columns - P), pixels, vectors);
    };
    using One = std::integral_constant<int, 1>;
    if (group_vectors % 2 == 0 && tile.columns >= 4) {
      involve_row(std::integral_constant<int, 4>(), std::integral_constant<int, 2>());
    } else if (tile.columns >= 8) {
      involve_row(std::integral_constant<int, 8>(), One());
    } else {
      involve_row(One(), One());
    }
  }
  if (past) finish_stores();
}

}  // namespace ROTACUBE_ISA
}  // namespace rotacube::cpu
