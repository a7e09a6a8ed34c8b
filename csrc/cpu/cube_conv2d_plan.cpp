#include "cube_conv2d_plan.h"

#include <algorithm>
#include <cstddef>

namespace rotacube::cpu {

Plan make_plan(const CubeShape& shape) {
  const int64_t kernel = shape.kernel;
  Plan plan;
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
      const int tap = tap_of[pixel * 4 + kPhaseOrder[shape.bottom_right][place]];
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

std::vector<WeightPlace> place_weights(const CubeShape& shape, const Plan& plan, const Strides& strides,
                                       int64_t spacing) {
  const int64_t groups = shape.channels / 4;
  const int64_t taps = shape.kernel * shape.kernel;
  std::vector<WeightPlace> firsts(static_cast<std::size_t>(taps));  // of group 0, a tap each
  int64_t row = 0;
  for (const Plan::Run& run : plan.runs) {
    for (const int tap : run.taps) {
      firsts[tap] = {(tap / shape.kernel) * strides.row + (tap % shape.kernel) * strides.column, row};
      row += spacing;
    }
  }
  std::vector<WeightPlace> places;
  places.reserve(static_cast<std::size_t>(groups * taps));
  const auto add = [&](int64_t tap, int64_t g) {
    places.push_back({firsts[tap].from + g * strides.channel, firsts[tap].row + g});
  };
  if (strides.channel < strides.column) {
    for (int64_t tap = 0; tap < taps; ++tap) {
      for (int64_t g = 0; g < groups; ++g) add(tap, g);
    }
  } else {
    for (int64_t g = 0; g < groups; ++g) {
      for (int64_t tap = 0; tap < taps; ++tap) add(tap, g);
    }
  }
  const auto before = [](const WeightPlace& a, const WeightPlace& b) { return a.from < b.from; };
  if (!std::is_sorted(places.begin(), places.end(), before)) std::stable_sort(places.begin(), places.end(), before);
  return places;
}

}  // namespace rotacube::cpu
