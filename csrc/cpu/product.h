// Matrix products in register tiles; included once for each instruction set, after vector.h.
//
// Both sides are words: floats, or pairs of bfloat16 that lie side by side along the sum. Sums are float32, each in one
// order whatever the tiles, so that no result depends on where the work was cut.

namespace rotacube::cpu {
namespace ROTACUBE_ISA {

constexpr int kRows = ROTACUBE_MR;     // most rows of a register tile
constexpr int kVectors = ROTACUBE_NR;  // most vectors of a row

template <typename Word>
using LaneOf = std::conditional_t<std::is_same_v<Word, Pair>, BFloat16, float>;

// MR rows of the left side, each a list of runs in memory, times NV vectors of columns. Starts from `start` (a value
// for each column, null for zeros), or where ADD from what c holds.
template <typename Out, typename Word, bool ADD, int MR, int NV>
void product_tile(const Segment* segments, int64_t segment_count, const Word* a, int64_t a_stride, const Word* b,
                  const float* start, Out* c, int64_t c_stride) {
  Vector sum[MR][NV];
#pragma GCC unroll 8
  for (int n = 0; n < NV; ++n) {
    const Vector first = start != nullptr ? load(start + n * kLanes) : Vector{};
#pragma GCC unroll 16
    for (int m = 0; m < MR; ++m) {
      if constexpr (ADD) {
        sum[m][n] = load(c + m * c_stride + n * kLanes);
      } else {
        sum[m][n] = first;
      }
    }
  }
  for (int64_t s = 0; s < segment_count; ++s) {
    const Word* row[MR];
#pragma GCC unroll 16
    for (int m = 0; m < MR; ++m) row[m] = a + segments[s].offset + m * a_stride;
    const int64_t length = segments[s].length;
    for (int64_t k = 0; k < length; ++k, b += NV * kLanes) {
      Vector right[NV];
#pragma GCC unroll 8
      for (int n = 0; n < NV; ++n) right[n] = load_words(b + n * kLanes);
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

// c (MR rows of NV vectors) += the sum over `steps` words of `lines` lines of a's column times b's row.
template <typename Word, int MR, int NV>
void outer_tile(int64_t lines, int64_t steps, const Word* a, int64_t a_line, int64_t a_step, const Word* b,
                int64_t b_line, int64_t b_step, float* c, int64_t c_stride) {
  Vector sum[MR][NV];
#pragma GCC unroll 16
  for (int m = 0; m < MR; ++m) {
#pragma GCC unroll 8
    for (int n = 0; n < NV; ++n) sum[m][n] = load(c + m * c_stride + n * kLanes);
  }
  for (int64_t line = 0; line < lines; ++line) {
    const Word* left = a + line * a_line;
    const Word* from = b + line * b_line;
    for (int64_t step = 0; step < steps; ++step, left += a_step, from += b_step) {
      Vector right[NV];
#pragma GCC unroll 8
      for (int n = 0; n < NV; ++n) right[n] = load_words(from + n * kLanes);
#pragma GCC unroll 16
      for (int m = 0; m < MR; ++m) {
#pragma GCC unroll 8
        for (int n = 0; n < NV; ++n) multiply_add(sum[m][n], left[m], right[n]);
      }
    }
  }
#pragma GCC unroll 16
  for (int m = 0; m < MR; ++m) {
#pragma GCC unroll 8
    for (int n = 0; n < NV; ++n) store(c + m * c_stride + n * kLanes, sum[m][n]);
  }
}

// Calls run(rows, vectors) with both as compile-time constants.
template <int MR = kRows, typename Run>
void with_sizes(int64_t rows, int64_t vectors, const Run& run) {
  if constexpr (MR > 1) {
    if (rows < MR) return with_sizes<MR - 1>(rows, vectors, run);
  }
  using Rows = std::integral_constant<int, MR>;
  if constexpr (kVectors >= 3) {
    if (vectors == 3) return run(Rows(), std::integral_constant<int, 3>());
  }
  if (vectors == 2) return run(Rows(), std::integral_constant<int, 2>());
  run(Rows(), std::integral_constant<int, 1>());
}

// The right side of a product: its columns in panels of a few vectors, in each the rows (words) one after another.
template <typename Word>
struct Packed {
  Panels panels;
  int64_t depth;  // rows, in words
  Buffer<Word> words;

  Packed(int64_t columns, int64_t rows)
      : panels(make_panels(columns, kLanes, kVectors)),
        depth(rows),
        words(allocate<Word>(panels.total * kLanes * rows)) {}
  const Word* panel(int64_t index) const { return words.get() + panels.first(index) * kLanes * depth; }
  Word* panel(int64_t index) { return words.get() + panels.first(index) * kLanes * depth; }
};

// Lines of rows of the left side times some panels; c has as many, and the columns of the first panel that is asked for
// begin where c does.
template <bool ADD, typename Out, typename Word>
void multiply(const Packed<Word>& right, int64_t first_panel, int64_t last_panel, const Segment* segments,
              int64_t segment_count, int64_t lines, int64_t rows, const Word* a, int64_t a_line, int64_t a_stride,
              const float* start, Out* c, int64_t c_line, int64_t c_stride) {
  const int64_t pieces = (rows + kRows - 1) / kRows;
  const int64_t origin = right.panels.first(first_panel);
  for (int64_t panel = first_panel; panel < last_panel; ++panel) {
    const int64_t column = (right.panels.first(panel) - origin) * kLanes;
    const Word* const b = right.panel(panel);
    const float* const from = start != nullptr ? start + column : nullptr;
    for (int64_t line = 0; line < lines; ++line) {
      for (int64_t piece = 0; piece < pieces; ++piece) {
        const int64_t row = piece * rows / pieces;
        with_sizes((piece + 1) * rows / pieces - row, right.panels.vectors(panel), [&](auto mr, auto nv) {
          product_tile<Out, Word, ADD, mr.value, nv.value>(segments, segment_count, a + line * a_line + row * a_stride,
                                                           a_stride, b, from,
                                                           c + line * c_line + row * c_stride + column, c_stride);
        });
      }
    }
  }
}

// c (rows of a, columns of b) += a^T b, both read line by line and step by step. c's rows are whole vectors.
template <typename Word>
void multiply_outer(int64_t lines, int64_t steps, const Word* a, int64_t a_line, int64_t a_step, int64_t a_columns,
                    const Word* b, int64_t b_line, int64_t b_step, int64_t b_columns, float* c, int64_t c_stride) {
  const Panels panels = make_panels(b_columns, kLanes, kVectors);
  const int64_t pieces = (a_columns + kRows - 1) / kRows;
  for (int64_t panel = 0; panel < panels.count; ++panel) {
    const int64_t column = panels.first(panel) * kLanes;
    for (int64_t piece = 0; piece < pieces; ++piece) {
      const int64_t row = piece * a_columns / pieces;
      with_sizes((piece + 1) * a_columns / pieces - row, panels.vectors(panel), [&](auto mr, auto nv) {
        outer_tile<Word, mr.value, nv.value>(lines, steps, a + row, a_line, a_step, b + column, b_line, b_step,
                                             c + row * c_stride + column, c_stride);
      });
    }
  }
}

// Writes one lane of a word; lane 0 also clears the other.
inline void put(float& word, int64_t, float value) { word = value; }
inline void put(Pair& word, int64_t lane, BFloat16 value) {
  if (lane == 0) {
    word = {value, {0}};
  } else {
    word.second = value;
  }
}

// Packs a vector of columns, kLanes of them, for all rows, in weights of type W that are rounded to X. Row r of column
// i lies at from[rows[r].from + columns[i]], and goes to lane rows[r].row (of pairs) of the words at to(rows[r].row). A
// negative column is one of zeros. The rows are in the order of memory; the first lane of a word comes first.
template <typename X, typename W, typename Word, typename To>
void pack_vector(const W* from, const int64_t* columns, const std::vector<WeightPlace>& rows, const To& to) {
  constexpr int64_t kIn = kLanesOf<Word>;
  const int64_t count = static_cast<int64_t>(rows.size());
  bool whole = true;
  for (int64_t i = 0; i < kLanes; ++i) whole = whole && columns[i] >= 0;
  int64_t next = 0;
#if defined(ROTACUBE_SHUFFLES)
  while (whole && next < count) {  // runs of neighbours in memory are transposed
    int64_t run = 1;
    while (run < kLanes && next + run < count && rows[next + run].from == rows[next].from + run) ++run;
    if (run == 1) break;
    Vector block[kLanes];
#pragma GCC unroll 16
    for (int i = 0; i < kLanes; ++i) block[i] = load_some(from + rows[next].from + columns[i], run);
    transpose(block);
    for (int64_t i = 0; i < run; ++i) {
      const int64_t row = rows[next + i].row;
      Word* const words = to(row);
      Bits bits = (Bits)block[i];
      if constexpr (kIn == 2) {
        if constexpr (!std::is_same_v<X, W>) bits = round_to_bfloat16(block[i]);
        bits = row % 2 == 0 ? bits >> 16 : bits | (Bits)load_words(words);
      } else if constexpr (!std::is_same_v<X, float> && !std::is_same_v<X, W>) {
        X rounded[kLanes];
        store(rounded, block[i]);
        bits = (Bits)load(rounded);
      }
      std::memcpy(words, &bits, sizeof(bits));
    }
    next += run;
  }
#endif
  for (; next < count; ++next) {
    Word* const words = to(rows[next].row);
    for (int64_t i = 0; i < kLanes; ++i) {
      const X weight = columns[i] < 0 ? X{} : convert<X>(from[rows[next].from + columns[i]]);
      put(words[i], rows[next].row % kIn, convert<LaneOf<Word>>(weight));
    }
  }
}

// One panel of a right side; `columns` are filled up with negative ones to whole vectors.
template <typename X, typename W, typename Word>
void pack_panel(const W* from, const std::vector<int64_t>& columns, const std::vector<WeightPlace>& rows, int64_t panel,
                Packed<Word>& packed) {
  const int64_t width = packed.panels.vectors(panel) * kLanes;
  for (int64_t v = 0; v < width; v += kLanes) {
    Word* const target = packed.panel(panel) + v;
    pack_vector<X, W, Word>(from, columns.data() + packed.panels.first(panel) * kLanes + v, rows,
                            [&](int64_t row) { return target + row / kLanesOf<Word> * width; });
  }
}

// Fills up with columns of zeros to whole vectors.
inline void fill_columns(std::vector<int64_t>& columns) {
  while (columns.size() % kLanes != 0 || columns.empty()) columns.push_back(-1);
}

}  // namespace ROTACUBE_ISA
}  // namespace rotacube::cpu
