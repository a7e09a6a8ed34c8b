#include "cube_plan.h"

#include <cstddef>

namespace rotacube::cpu {

CubePlan make_cube_plan(const CubeShape& shape) {
  const int64_t kernel = shape.kernel;
  CubePlan plan;
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

}  // namespace rotacube::cpu
