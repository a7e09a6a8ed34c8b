// The parts of the CPU matrix products that no instruction set changes.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

namespace rotacube::cpu {

// A run of words that one row of a left side reads, from `offset` words after its own first on.
struct Segment {
  int64_t offset;
  int64_t length;
};

// Where a row of weights lies in memory, beside its column, and which row of the packed panels it becomes.
struct WeightPlace {
  int64_t from;
  int64_t row;
};

// In the order of memory, so that each cache line is read once.
inline void sort_by_memory(std::vector<WeightPlace>& places) {
  const auto before = [](const WeightPlace& a, const WeightPlace& b) { return a.from < b.from; };
  if (!std::is_sorted(places.begin(), places.end(), before)) std::stable_sort(places.begin(), places.end(), before);
}

// Columns in panels of at most so many vectors, as even as can be.
struct Panels {
  int64_t total;  // vectors
  int64_t count;

  int64_t first(int64_t panel) const { return panel * total / count; }
  int64_t vectors(int64_t panel) const { return first(panel + 1) - first(panel); }
};

inline Panels make_panels(int64_t columns, int64_t lanes, int64_t most) {
  const int64_t vectors = std::max<int64_t>((columns + lanes - 1) / lanes, 1);
  return {vectors, (vectors + most - 1) / most};
}

// An image cut into tiles, and these into units of work: by image, row and column of tiles.
struct Tiles {
  int64_t height, width;
  int64_t batch;
  int64_t rows, columns;  // numbers of tiles down and across

  int64_t count() const { return batch * rows * columns; }
  int64_t most_rows() const { return (height + rows - 1) / rows; }
  int64_t most_columns() const { return (width + columns - 1) / columns; }

  struct Place {
    int64_t image, top, left, rows, columns;
  };
  Place place(int64_t tile) const {
    const int64_t column = tile % columns, row = tile / columns % rows;
    const int64_t top = row * height / rows, left = column * width / columns;
    return {tile / columns / rows, top, left, (row + 1) * height / rows - top, (column + 1) * width / columns - left};
  }
};

// Tiles of about so many pixels, in a number that the threads share evenly.
inline Tiles make_tiles(int64_t batch, int64_t height, int64_t width, int64_t pixels, int64_t threads) {
  Tiles tiles = {height, width, batch, 1, (width + pixels - 1) / pixels};
  const int64_t rows = std::max<int64_t>(pixels / tiles.most_columns(), 1);
  tiles.rows = (height + rows - 1) / rows;
  while (tiles.count() % threads != 0 && tiles.count() < 8 * threads && tiles.rows < height) ++tiles.rows;
  return tiles;
}

}  // namespace rotacube::cpu
