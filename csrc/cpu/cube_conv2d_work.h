// One call of the CPU Cube convolution: packs the weights, cuts the image into tiles, and computes them.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <memory>
#include <new>
#include <vector>

#include "cube_conv2d.h"
#include "cube_conv2d_instructions.h"

namespace rotacube::cpu {

template <typename X, typename W, typename Word>
class Work {
 public:
  Work(const Instructions<X, W, Word>& set, const CubeShape& shape, const Operands<X, W>& operands)
      : set_(set),
        shape_(shape),
        in_(operands),
        plan_(make_plan(shape)),
        run_((shape.channels / 4 + kIn - 1) / kIn),
        places_(place_weights(shape, plan_, operands.weight_strides, run_ * kIn)),
        depth_(shape.kernel * shape.kernel * run_),
        panels_(cut(set, shape.outputs)),
        packed_(allocate<Word>(panels_.total * set.lanes * depth_)),
        bias_(allocate<float>(panels_.total * set.lanes)) {
    for (std::size_t i = 0; i < places_.size(); ++i) {
      dense_ = dense_ && places_[i].from == static_cast<int64_t>(i);
    }
  }

  void run(const Threads& threads) {
    threads.run(
        panels_.count, [](int64_t first, int64_t last, void* self) { static_cast<Work*>(self)->pack(first, last); },
        this);
    split(threads.number);
    threads.run(
        shape_.batch * rows_split_ * columns_split_ * output_split_,
        [](int64_t first, int64_t last, void* self) { static_cast<const Work*>(self)->compute(first, last); }, this);
  }

 private:
  using Lane = typename Words<Word>::Lane;
  static constexpr int64_t kIn = Words<Word>::kLanes;
  static constexpr int64_t kTileWords = 64 * 1024;  // of a tile's reordered input: a quarter of a megabyte, within L2

  static Panels cut(const Instructions<X, W, Word>& set, int64_t outputs) {
    const int64_t vectors = (outputs + set.lanes - 1) / set.lanes;
    return {set.lanes, vectors, (vectors + set.vectors - 1) / set.vectors};
  }

  // Tiles that fit L2, in a number that the threads share evenly; with too few pixels for that the outputs are split.
  void split(int64_t threads) {
    const int64_t tile_pixels = std::max<int64_t>(kTileWords / (4 * run_), 4 * set_.pixels);
    columns_split_ = (shape_.width + tile_pixels - 1) / tile_pixels;
    const int64_t tile_columns = (shape_.width + columns_split_ - 1) / columns_split_;
    const int64_t tile_rows = std::max<int64_t>(tile_pixels / tile_columns, 1);
    rows_split_ = (shape_.height + tile_rows - 1) / tile_rows;
    const auto tiles = [&] { return shape_.batch * rows_split_ * columns_split_; };
    while (tiles() % threads != 0 && tiles() < 8 * threads && rows_split_ < shape_.height) ++rows_split_;
    if (tiles() < threads) output_split_ = std::min(panels_.count, (threads + tiles() - 1) / tiles());
  }

  void pack(int64_t first, int64_t last) {
    const int64_t count = static_cast<int64_t>(places_.size());
    const int64_t stride = in_.weight_strides.batch;
    for (int64_t panel = first; panel < last; ++panel) {
      const int64_t begin = panels_.first(panel) * set_.lanes;
      const int64_t width = panels_.vectors(panel) * set_.lanes;
      for (int64_t o = begin; o < begin + width; o += set_.lanes) {
        const int64_t real = std::clamp<int64_t>(shape_.outputs - o, 0, set_.lanes);
        const W* from = in_.weight + o * stride;
        Word* const to = packed_.get() + begin * depth_ + (o - begin);
        int64_t next = 0;
        if (dense_ && set_.pack_block != nullptr && real == set_.lanes) {
          for (; next + set_.lanes <= count; next += set_.lanes) {
            set_.pack_block(from + next, stride, &places_[next], width, to);
          }
        }
        for (; next < count; ++next) {
          const WeightPlace& place = places_[next];
          Word* const row = to + place.row / kIn * width;
          for (int64_t i = 0; i < set_.lanes; ++i) {
            const X weight = i < real ? convert<X>(from[place.from + i * stride]) : X{};
            put(row[i], place.row % kIn, convert<Lane>(weight));
          }
        }
        for (int64_t i = 0; i < set_.lanes; ++i) {
          const bool some = in_.bias != nullptr && i < real;
          bias_[o + i] = some ? convert<float>(convert<X>(in_.bias[o + i])) : 0.0f;
        }
      }
    }
  }

  // Copies rows x columns pixels from (top, left) on, phase by phase; what lies outside the image is zero.
  void fill(int64_t image, int64_t top, int64_t left, int64_t rows, int64_t columns, Word* to) const {
    const Strides& strides = in_.x_strides;
    const int64_t groups = shape_.channels / 4;
    const int64_t pixel = 4 * run_;
    const int64_t begin = std::clamp<int64_t>(-left, 0, columns);
    const int64_t end = std::clamp<int64_t>(shape_.width - left, begin, columns);
    const auto clear = [&](Word* first, int64_t pixels) { std::memset(first, 0, sizeof(Word) * pixels * pixel); };
    for (int64_t r = 0; r < rows; ++r, to += columns * pixel) {
      if (top + r < 0 || top + r >= shape_.height) {
        clear(to, columns);
        continue;
      }
      clear(to, begin);
      clear(to + end * pixel, columns - end);
      const X* from = in_.x + image * strides.batch + (top + r) * strides.row + left * strides.column;
      if (strides.channel == 1) {
        for (int64_t c = begin; c < end; ++c) {
          set_.split_phases(from + c * strides.column, groups, shape_.bottom_right, to + c * pixel);
        }
        continue;
      }
      if (groups % kIn != 0) clear(to + begin * pixel, end - begin);  // the lanes that fill up a word
      constexpr int64_t kBlock = 16;                                  // about a cache line of x at a time
      for (int64_t c = begin; c < end; c += kBlock) {
        const int64_t block = std::min(kBlock, end - c);
        for (int64_t g = 0; g < groups; ++g) {
          for (int place = 0; place < 4; ++place) {
            const int64_t channel = 4 * g + kPhaseOrder[shape_.bottom_right][place];
            const X* source = from + channel * strides.channel + c * strides.column;
            Lane* target = reinterpret_cast<Lane*>(to + c * pixel + place * run_) + g;
            for (int64_t i = 0; i < block; ++i) target[i * pixel * kIn] = convert<Lane>(source[i * strides.column]);
          }
        }
      }
    }
  }

  void compute(int64_t first, int64_t last) const {
    const Strides& strides = in_.y_strides;
    const int64_t pixel = 4 * run_;
    const int64_t most_rows = (shape_.height + rows_split_ - 1) / rows_split_;
    const int64_t most_columns = (shape_.width + columns_split_ - 1) / columns_split_;
    const int64_t rim = plan_.before + plan_.after;
    const bool direct = strides.channel == 1 && shape_.outputs % set_.lanes == 0;
    const int64_t padded = panels_.total * set_.lanes;
    const Buffer<Word> tile = allocate<Word>((most_rows + rim) * (most_columns + rim) * pixel);
    const Buffer<X> result = allocate<X>(direct ? 0 : most_rows * most_columns * padded);
    std::vector<Segment> segments(plan_.runs.size());

    for (int64_t unit = first; unit < last; ++unit) {
      int64_t rest = unit;
      const int64_t part = rest % output_split_;
      rest /= output_split_;
      const int64_t tile_column = rest % columns_split_;
      rest /= columns_split_;
      const int64_t tile_row = rest % rows_split_;
      const int64_t image = rest / rows_split_;
      const int64_t top = tile_row * shape_.height / rows_split_;
      const int64_t rows = (tile_row + 1) * shape_.height / rows_split_ - top;
      const int64_t left = tile_column * shape_.width / columns_split_;
      const int64_t columns = (tile_column + 1) * shape_.width / columns_split_ - left;
      const int64_t first_panel = part * panels_.count / output_split_;
      const int64_t last_panel = (part + 1) * panels_.count / output_split_;

      const int64_t row_words = (columns + rim) * pixel;
      fill(image, top - plan_.before, left - plan_.before, rows + rim, columns + rim, tile.get());
      for (std::size_t s = 0; s < segments.size(); ++s) {
        const Plan::Run& run = plan_.runs[s];
        segments[s].offset = run.down * row_words + run.right * pixel + run.place * run_;
        segments[s].length = static_cast<int64_t>(run.taps.size()) * run_;
      }

      X* const corner = in_.y + image * strides.batch + top * strides.row + left * strides.column;
      X* const out = direct ? corner : result.get();
      const int64_t out_row = direct ? strides.row : columns * padded;
      const int64_t out_column = direct ? strides.column : padded;
      const int64_t pieces = (columns + set_.pixels - 1) / set_.pixels;
      for (int64_t panel = first_panel; panel < last_panel; ++panel) {
        const int64_t begin = panels_.first(panel) * set_.lanes;
        for (int64_t r = 0; r < rows; ++r) {
          const Word* a = tile.get() + (r + plan_.before) * row_words + plan_.before * pixel;
          for (int64_t piece = 0; piece < pieces; ++piece) {
            const int64_t c = piece * columns / pieces;
            const int64_t pixels = (piece + 1) * columns / pieces - c;
            set_.find_tile(pixels, panels_.vectors(panel))(segments.data(), static_cast<int64_t>(segments.size()),
                                                           a + c * pixel, pixel, packed_.get() + begin * depth_,
                                                           bias_.get() + begin,
                                                           out + r * out_row + c * out_column + begin, out_column);
          }
        }
      }
      if (direct) continue;

      const int64_t from_output = panels_.first(first_panel) * set_.lanes;
      const int64_t to_output = std::min(panels_.first(last_panel) * set_.lanes, shape_.outputs);
      for (int64_t r = 0; r < rows; ++r) {
        X* target = corner + r * strides.row;
        const X* source = result.get() + r * columns * padded;
        if (strides.channel == 1) {
          for (int64_t c = 0; c < columns; ++c) {
            std::memcpy(target + c * strides.column + from_output, source + c * padded + from_output,
                        sizeof(X) * (to_output - from_output));
          }
        } else {
          for (int64_t o = from_output; o < to_output; ++o) {
            for (int64_t c = 0; c < columns; ++c) {
              target[o * strides.channel + c * strides.column] = source[c * padded + o];
            }
          }
        }
      }
    }
  }

  const Instructions<X, W, Word>& set_;
  const CubeShape shape_;
  const Operands<X, W> in_;
  const Plan plan_;
  const int64_t run_;  // words that a phase of a pixel takes
  const std::vector<WeightPlace> places_;
  const int64_t depth_;  // rows of the packed panels: taps times words
  const Panels panels_;
  const Buffer<Word> packed_;  // panel by panel: depth rows of (vectors * lanes)
  const Buffer<float> bias_;   // zeros where there is none
  bool dense_ = true;          // an output's weights lie side by side
  int64_t rows_split_ = 1, columns_split_ = 1, output_split_ = 1;
};

}  // namespace rotacube::cpu
