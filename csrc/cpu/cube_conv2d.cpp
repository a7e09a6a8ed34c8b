// The Cube convolution on the CPU: an implicit matrix product with register tiles.
//
// Seen from the coarse grid each output pixel reads, for K = 3, all C channels of its own pixel, C/2 of one neighbour
// in the row, C/2 of one in the column and C/4 of one across. Within a pixel the channels are put in an order of phases
// in which each of these is one run ("segment"): 0 2 3 1 for anchor "tl" (own, then rows 2 3, columns 3 1, corner 3)
// and its mirror 3 1 0 2 for "br". So a tile of the image, reordered once with a rim of zeros, is the left matrix as it
// lies: no im2col. The weights are packed in the same order, into panels of a few vectors of outputs. Other K only have
// more segments.
#include "cube_conv2d.h"

#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>
#include <string>
#include <utility>
#include <vector>

namespace rotacube::cpu {
namespace {

// A run of channels that one output pixel reads, from `offset` floats after its own first channel on.
struct Segment {
  int64_t offset;
  int64_t length;
};

using RegisterTile = void(const Segment* segments, int64_t segment_count, const float* a, int64_t pixel_stride,
                          const float* b, const float* bias, float* c, int64_t c_stride);

// Where a weight lies in memory (beside its output channel), and to which row of the packed panels it goes.
struct WeightPlace {
  int64_t from;
  int64_t row;
};

using PackBlock = void(const float* from, int64_t output_stride, const WeightPlace* places, int64_t width, float* to);

struct InstructionSet {
  int64_t lanes;
  int64_t pixels;   // most pixels of a register tile
  int64_t vectors;  // most vectors of outputs of a register tile
  RegisterTile* (*find_tile)(int64_t pixels, int64_t vectors);
  void (*split_phases)(const float* from, int64_t groups, const int* order, float* to);
  PackBlock* pack_block;  // null where the compiler has no vector shuffles
};

}  // namespace
}  // namespace rotacube::cpu

// Everything in the kernel header is meant to have internal linkage, as the anonymous namespace's types have.
#define ROTACUBE_ISA generic
#define ROTACUBE_TARGET
#define ROTACUBE_LANES 4
#define ROTACUBE_MR 4
#define ROTACUBE_NR 2
#include "cube_conv2d_kernel.h"

#if defined(__x86_64__)
#define ROTACUBE_ISA avx2
#define ROTACUBE_TARGET __attribute__((target("avx2,fma")))
#define ROTACUBE_LANES 8
#define ROTACUBE_MR 4
#define ROTACUBE_NR 3
#include "cube_conv2d_kernel.h"

#define ROTACUBE_ISA avx512
#define ROTACUBE_TARGET __attribute__((target("avx512f,fma")))
#define ROTACUBE_LANES 16
#define ROTACUBE_MR 8
#define ROTACUBE_NR 3
#include "cube_conv2d_kernel.h"
#endif

namespace rotacube::cpu {
namespace {

// The widest instruction set that this processor has. ROTACUBE_CPU=avx2 or generic asks for a narrower one, so that
// each can be tested on one machine, and a wrong result be traced.
const InstructionSet& choose_set() {
#if defined(__x86_64__)
  const char* variable = std::getenv("ROTACUBE_CPU");
  const std::string most = variable != nullptr ? variable : "";
  const bool avx2_wanted = most != "generic";
  const bool avx512_wanted = avx2_wanted && most != "avx2";
  if (avx512_wanted && __builtin_cpu_supports("avx512f")) return avx512::kSet;
  if (avx2_wanted && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return avx2::kSet;
#endif
  return generic::kSet;
}

const InstructionSet& this_machine() {
  static const InstructionSet& chosen = choose_set();
  return chosen;
}

constexpr std::size_t kAlignment = 64;
constexpr int64_t kTileFloats = 64 * 1024;  // of a tile's reordered input: a quarter of a megabyte, well within L2

struct Free {
  void operator()(float* memory) const { ::operator delete(memory, std::align_val_t(kAlignment)); }
};
using Floats = std::unique_ptr<float[], Free>;

Floats allocate(int64_t count) {
  const std::size_t bytes = static_cast<std::size_t>(std::max<int64_t>(count, 1)) * sizeof(float);
  return Floats(static_cast<float*>(::operator new(bytes, std::align_val_t(kAlignment))));
}

constexpr int kOrderTopLeft[4] = {0, 2, 3, 1};
constexpr int kOrderBottomRight[4] = {3, 1, 0, 2};

// What the kernel size and the anchor decide.
struct Plan {
  const int* order;
  int64_t before;  // rim: coarse pixels that the taps reach to the left and up
  int64_t after;   // and to the right and down
  struct Run {
    int64_t down, right;    // coarse offset
    int64_t place;          // first position in the order of phases
    std::vector<int> taps;  // one for each position: row * K + column
  };
  std::vector<Run> runs;
};

Plan make_plan(const CubeShape& shape) {
  const int64_t kernel = shape.kernel;
  Plan plan;
  plan.order = shape.bottom_right ? kOrderBottomRight : kOrderTopLeft;
  plan.before = -tap_place(0, kernel, shape.bottom_right).coarse;
  plan.after = tap_place(kernel - 1, kernel, shape.bottom_right).coarse;
  const int64_t across = plan.before + plan.after + 1;
  std::vector<int> tap_of(static_cast<std::size_t>(across * across * 4), -1);
  for (int64_t u = 0; u < kernel; ++u) {
    for (int64_t v = 0; v < kernel; ++v) {
      const TapPlace row = tap_place(u, kernel, shape.bottom_right);
      const TapPlace column = tap_place(v, kernel, shape.bottom_right);
      const int64_t pixel = (row.coarse + plan.before) * across + column.coarse + plan.before;
      tap_of[pixel * 4 + row.half * 2 + column.half] = static_cast<int>(u * kernel + v);
    }
  }
  for (int64_t pixel = 0; pixel < across * across; ++pixel) {
    bool open = false;
    for (int place = 0; place < 4; ++place) {
      const int tap = tap_of[pixel * 4 + plan.order[place]];
      if (tap < 0) {
        open = false;
        continue;
      }
      if (!open) plan.runs.push_back({pixel / across - plan.before, pixel % across - plan.before, place, {}});
      open = true;
      plan.runs.back().taps.push_back(tap);
    }
  }
  return plan;
}

// All weights of an output, in the order in which they lie, so that each cache line is read once.
std::vector<WeightPlace> place_weights(const CubeShape& shape, const Plan& plan, const Strides& strides) {
  const int64_t groups = shape.channels / 4;
  const int64_t taps = shape.kernel * shape.kernel;
  std::vector<WeightPlace> firsts(static_cast<std::size_t>(taps));  // of group 0, a tap each
  int64_t row = 0;
  for (const Plan::Run& run : plan.runs) {
    for (const int tap : run.taps) {
      firsts[tap] = {(tap / shape.kernel) * strides.row + (tap % shape.kernel) * strides.column, row};
      row += groups;
    }
  }
  std::vector<WeightPlace> places;
  places.reserve(static_cast<std::size_t>(groups * taps));
  const bool groups_inside = strides.channel < strides.column;
  for (int64_t i = 0; i < groups * taps; ++i) {
    const int64_t g = groups_inside ? i % groups : i / taps;
    const WeightPlace& first = firsts[groups_inside ? i / groups : i % taps];
    places.push_back({first.from + g * strides.channel, first.row + g});
  }
  const auto before = [](const WeightPlace& a, const WeightPlace& b) { return a.from < b.from; };
  if (!std::is_sorted(places.begin(), places.end(), before)) std::sort(places.begin(), places.end(), before);
  return places;
}

// The outputs in panels of at most `vectors` vectors, as even as can be.
struct Panels {
  int64_t lanes;
  int64_t total;  // vectors
  int64_t count;

  int64_t first(int64_t panel) const { return panel * total / count; }
  int64_t vectors(int64_t panel) const { return first(panel + 1) - first(panel); }
};

struct Work {
  const CubeShape& shape;
  const float* x;
  const Strides& x_strides;
  const float* weight;
  const Strides& weight_strides;
  const float* bias;
  float* y;
  const Strides& y_strides;

  const InstructionSet& set;
  const Plan plan;
  const std::vector<WeightPlace> places;
  const int64_t depth;  // rows of the packed panels: taps times groups
  const Panels panels;
  Floats packed;       // panel by panel: depth rows of (vectors * lanes)
  Floats packed_bias;  // zeros where there is none
  bool dense = true;   // an output's weights lie side by side
  int64_t rows_split = 1, columns_split = 1, output_split = 1;

  void pack(int64_t first, int64_t last);
  void fill(int64_t image, int64_t top, int64_t left, int64_t rows, int64_t columns, float* to) const;
  void compute(int64_t first, int64_t last) const;
};

void Work::pack(int64_t first, int64_t last) {
  for (int64_t panel = first; panel < last; ++panel) {
    const int64_t begin = panels.first(panel) * panels.lanes;
    const int64_t width = panels.vectors(panel) * panels.lanes;
    const int64_t real = std::min(width, shape.outputs - begin);
    float* to = packed.get() + begin * depth;
    const float* from = weight + begin * weight_strides.batch;
    int64_t next = 0;
    if (dense && set.pack_block != nullptr && real == width) {
      for (; next + set.lanes <= depth; next += set.lanes) {
        for (int64_t o = 0; o < width; o += set.lanes) {
          set.pack_block(from + o * weight_strides.batch + next, weight_strides.batch, &places[next], width, to + o);
        }
      }
    }
    for (; next < depth; ++next) {
      float* row = to + places[next].row * width;
      for (int64_t o = 0; o < real; ++o) row[o] = from[places[next].from + o * weight_strides.batch];
      for (int64_t o = real; o < width; ++o) row[o] = 0.0f;
    }
    for (int64_t o = 0; o < width; ++o) {
      packed_bias[begin + o] = bias != nullptr && o < real ? bias[begin + o] : 0.0f;
    }
  }
}

// Copies rows x columns pixels from (top, left) on, phase by phase; what lies outside the image is zero.
void Work::fill(int64_t image, int64_t top, int64_t left, int64_t rows, int64_t columns, float* to) const {
  const int64_t channels = shape.channels;
  const int64_t groups = channels / 4;
  const int64_t begin = std::clamp<int64_t>(-left, 0, columns);
  const int64_t end = std::clamp<int64_t>(shape.width - left, begin, columns);
  for (int64_t r = 0; r < rows; ++r, to += columns * channels) {
    if (top + r < 0 || top + r >= shape.height) {
      std::memset(to, 0, sizeof(float) * columns * channels);
      continue;
    }
    std::memset(to, 0, sizeof(float) * begin * channels);
    std::memset(to + end * channels, 0, sizeof(float) * (columns - end) * channels);
    const float* from = x + image * x_strides.batch + (top + r) * x_strides.row + left * x_strides.column;
    if (x_strides.channel == 1) {
      for (int64_t c = begin; c < end; ++c) {
        set.split_phases(from + c * x_strides.column, groups, plan.order, to + c * channels);
      }
      continue;
    }
    constexpr int64_t kBlock = 16;  // a cache line of x at a time
    for (int64_t c = begin; c < end; c += kBlock) {
      const int64_t block = std::min(kBlock, end - c);
      for (int64_t g = 0; g < groups; ++g) {
        for (int place = 0; place < 4; ++place) {
          const float* source = from + (4 * g + plan.order[place]) * x_strides.channel + c * x_strides.column;
          float* target = to + c * channels + place * groups + g;
          for (int64_t i = 0; i < block; ++i) target[i * channels] = source[i * x_strides.column];
        }
      }
    }
  }
}

void Work::compute(int64_t first, int64_t last) const {
  const int64_t channels = shape.channels;
  const int64_t most_rows = (shape.height + rows_split - 1) / rows_split;
  const int64_t most_columns = (shape.width + columns_split - 1) / columns_split;
  const int64_t rim = plan.before + plan.after;
  const bool direct = y_strides.channel == 1 && shape.outputs % panels.lanes == 0;
  const int64_t padded = panels.total * panels.lanes;
  const Floats tile = allocate((most_rows + rim) * (most_columns + rim) * channels);
  const Floats result = allocate(direct ? 0 : most_rows * most_columns * padded);
  std::vector<Segment> segments(plan.runs.size());

  for (int64_t unit = first; unit < last; ++unit) {
    int64_t rest = unit;
    const int64_t part = rest % output_split;
    rest /= output_split;
    const int64_t tile_column = rest % columns_split;
    rest /= columns_split;
    const int64_t tile_row = rest % rows_split;
    const int64_t image = rest / rows_split;
    const int64_t top = tile_row * shape.height / rows_split;
    const int64_t rows = (tile_row + 1) * shape.height / rows_split - top;
    const int64_t left = tile_column * shape.width / columns_split;
    const int64_t columns = (tile_column + 1) * shape.width / columns_split - left;
    const int64_t first_panel = part * panels.count / output_split;
    const int64_t last_panel = (part + 1) * panels.count / output_split;

    const int64_t row_floats = (columns + rim) * channels;
    fill(image, top - plan.before, left - plan.before, rows + rim, columns + rim, tile.get());
    for (std::size_t s = 0; s < segments.size(); ++s) {
      const Plan::Run& run = plan.runs[s];
      segments[s].offset = run.down * row_floats + run.right * channels + run.place * (channels / 4);
      segments[s].length = static_cast<int64_t>(run.taps.size()) * (channels / 4);
    }

    float* const out =
        direct ? y + image * y_strides.batch + top * y_strides.row + left * y_strides.column : result.get();
    const int64_t out_row = direct ? y_strides.row : columns * padded;
    const int64_t out_column = direct ? y_strides.column : padded;
    const int64_t pieces = (columns + set.pixels - 1) / set.pixels;
    for (int64_t panel = first_panel; panel < last_panel; ++panel) {
      const int64_t begin = panels.first(panel) * panels.lanes;
      for (int64_t r = 0; r < rows; ++r) {
        const float* a = tile.get() + (r + plan.before) * row_floats + plan.before * channels;
        for (int64_t piece = 0; piece < pieces; ++piece) {
          const int64_t c = piece * columns / pieces;
          const int64_t pixels = (piece + 1) * columns / pieces - c;
          set.find_tile(pixels, panels.vectors(panel))(segments.data(), static_cast<int64_t>(segments.size()),
                                                       a + c * channels, channels, packed.get() + begin * depth,
                                                       packed_bias.get() + begin,
                                                       out + r * out_row + c * out_column + begin, out_column);
        }
      }
    }
    if (direct) continue;

    const int64_t from_output = panels.first(first_panel) * panels.lanes;
    const int64_t to_output = std::min(panels.first(last_panel) * panels.lanes, shape.outputs);
    for (int64_t r = 0; r < rows; ++r) {
      float* target = y + image * y_strides.batch + (top + r) * y_strides.row + left * y_strides.column;
      const float* source = result.get() + r * columns * padded;
      if (y_strides.channel == 1) {
        for (int64_t c = 0; c < columns; ++c) {
          std::memcpy(target + c * y_strides.column + from_output, source + c * padded + from_output,
                      sizeof(float) * (to_output - from_output));
        }
      } else {
        for (int64_t o = from_output; o < to_output; ++o) {
          for (int64_t c = 0; c < columns; ++c) {
            target[o * y_strides.channel + c * y_strides.column] = source[c * padded + o];
          }
        }
      }
    }
  }
}

}  // namespace

void cube_conv2d(const CubeShape& shape, const float* x, const Strides& x_strides, const float* weight,
                 const Strides& weight_strides, const float* bias, float* y, const Strides& y_strides,
                 const Threads& threads) {
  if (shape.batch == 0 || shape.height == 0 || shape.width == 0 || shape.outputs == 0) return;
  const InstructionSet& set = this_machine();
  Plan plan = make_plan(shape);
  std::vector<WeightPlace> places = place_weights(shape, plan, weight_strides);
  const int64_t depth = static_cast<int64_t>(places.size());
  const int64_t vectors = (shape.outputs + set.lanes - 1) / set.lanes;
  const Panels panels{set.lanes, vectors, (vectors + set.vectors - 1) / set.vectors};
  Work work{shape,
            x,
            x_strides,
            weight,
            weight_strides,
            bias,
            y,
            y_strides,
            set,
            std::move(plan),
            std::move(places),
            depth,
            panels,
            allocate(vectors * set.lanes * depth),
            allocate(vectors * set.lanes)};
  for (int64_t i = 0; i < depth; ++i) work.dense = work.dense && work.places[i].from == i;
  threads.run(
      work.panels.count,
      [](int64_t first, int64_t last, void* context) { static_cast<Work*>(context)->pack(first, last); }, &work);

  // Tiles that fit L2, in a number that the threads share evenly; with too few pixels for that the outputs are split.
  const int64_t tile_pixels = std::max<int64_t>(kTileFloats / shape.channels, 4 * set.pixels);
  work.columns_split = (shape.width + tile_pixels - 1) / tile_pixels;
  const int64_t tile_columns = (shape.width + work.columns_split - 1) / work.columns_split;
  const int64_t tile_rows = std::max<int64_t>(tile_pixels / tile_columns, 1);
  work.rows_split = (shape.height + tile_rows - 1) / tile_rows;
  const auto tiles = [&] { return shape.batch * work.rows_split * work.columns_split; };
  while (tiles() % threads.number != 0 && tiles() < 8 * threads.number && work.rows_split < shape.height) {
    ++work.rows_split;
  }
  if (tiles() < threads.number) {
    work.output_split = std::min(work.panels.count, (threads.number + tiles() - 1) / tiles());
  }
  threads.run(
      tiles() * work.output_split,
      [](int64_t first, int64_t last, void* context) { static_cast<const Work*>(context)->compute(first, last); },
      &work);
}

}  // namespace rotacube::cpu
