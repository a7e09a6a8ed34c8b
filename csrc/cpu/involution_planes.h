// Rows of an image as planes of floats, a plane a channel, from and to either memory format; included once for each
// instruction set, after vector.h and stream_store.h.

namespace rotacube::cpu {
namespace ROTACUBE_ISA {

// Distances between neighbours of a dense tensor, in elements.
struct Lie {
  int64_t image, channel, row, pixel;
};

inline Lie lie_of(const InvolutionShape& shape, int64_t channels) {
  const int64_t row = shape.channels_last ? shape.width * channels : shape.width;
  const int64_t image = channels * shape.height * shape.width;
  return shape.channels_last ? Lie{image, 1, row, channels} : Lie{image, shape.height * shape.width, row, 1};
}

// The K vectors that begin at `from`, `from` + 1, ...; `from` is aligned to a vector. Where each of them would cross a
// cache line they are made from the two aligned ones: two lines are read, not 2K.
#if defined(ROTACUBE_SHUFFLES) && ROTACUBE_LANES == 16
template <int K>
struct Window {
  explicit Window(const float* from) : first(load(from)), second(load(from + kLanes)) {}

  template <int V>
  Vector at() const {
    return shift<V>(std::make_integer_sequence<int, kLanes>());
  }

 private:
  template <int V, int... I>
  Vector shift(std::integer_sequence<int, I...>) const {
    return __builtin_shufflevector(first, second, (I + V)...);
  }

  Vector first, second;
};
#else
template <int K>
struct Window {
  explicit Window(const float* from) : from(from) {}

  template <int V>
  Vector at() const {
    return load(from + V);
  }

 private:
  const float* from;
};
#endif

template <int K, int V = 0>
inline void add_products(const Window<K>& x, const Vector (&taps)[K], Vector& sum) {
  if constexpr (V < K) {
    sum += taps[V] * x.template at<V>();
    add_products<K, V + 1>(x, taps, sum);
  }
}

template <int K, int V = 0>
inline void add_multiples(const Window<K>& x, Vector factor, Vector (&sums)[K]) {
  if constexpr (V < K) {
    sums[V] += factor * x.template at<V>();
    add_multiples<K, V + 1>(x, factor, sums);
  }
}

// Calls block(first, count) on blocks of at most kLanes that cover [0, channels); the last may overlap the one before.
template <typename Block>
inline void for_channel_blocks(int64_t channels, const Block& block) {
  for (int64_t c = 0; c < channels; c += kLanes) {
    const int64_t first = channels >= kLanes ? std::min(c, channels - kLanes) : 0;
    block(first, std::min<int64_t>(kLanes, channels - first));
  }
}

// Copies `columns` pixels of `channels` channels to planes. A plane takes whole vectors: up to kLanes - 1 floats past
// its end are overwritten, and up to kLanes planes from the first.
template <typename X>
void read_planes(const X* from, const Lie& lie, int64_t columns, int64_t channels, float* to, int64_t plane) {
  if (lie.pixel == 1) {
    for (int64_t c = 0; c < channels; ++c) {
      const X* source = from + c * lie.channel;
      int64_t i = 0;
      for (; i + kLanes <= columns; i += kLanes) store(to + c * plane + i, load(source + i));
      if (i < columns) store(to + c * plane + i, load_some(source + i, columns - i));
    }
    return;
  }
  for (int64_t i = 0; i < columns; i += kLanes) {
    const int64_t pixels = std::min<int64_t>(kLanes, columns - i);
    for_channel_blocks(channels, [&](int64_t first, int64_t count) {
      Vector rows[kLanes] = {};
      const X* source = from + i * lie.pixel + first;
      if (count == kLanes && pixels == kLanes) {
#pragma GCC unroll 16
        for (int p = 0; p < kLanes; ++p) rows[p] = load(source + p * lie.pixel);
      } else {
        for (int64_t p = 0; p < pixels; ++p) rows[p] = load_some(source + p * lie.pixel, count);
      }
      transpose(rows);
#pragma GCC unroll 16
      for (int c = 0; c < kLanes; ++c) store(to + (first + c) * plane + i, rows[c]);
    });
  }
}

// The reverse. Whole vectors of the planes are read. `past`: see goes_past in involution.cpp.
template <typename X>
void write_planes(const float* from, int64_t plane, int64_t columns, int64_t channels, X* to, const Lie& lie,
                  bool past) {
  if (lie.pixel == 1) {
    for (int64_t c = 0; c < channels; ++c) {
      X* target = to + c * lie.channel;
      int64_t i = 0;
      for (; i + kLanes <= columns; i += kLanes) store(target + i, load(from + c * plane + i), past);
      if (i < columns) store_some(target + i, load(from + c * plane + i), columns - i);
    }
    return;
  }
  for (int64_t i = 0; i < columns; i += kLanes) {
    const int64_t pixels = std::min<int64_t>(kLanes, columns - i);
    for_channel_blocks(channels, [&](int64_t first, int64_t count) {
      Vector rows[kLanes];
#pragma GCC unroll 16
      for (int c = 0; c < kLanes; ++c) rows[c] = load(from + (first + c) * plane + i);
      transpose(rows);
      X* target = to + i * lie.pixel + first;
      if (count == kLanes && pixels == kLanes) {
#pragma GCC unroll 16
        for (int p = 0; p < kLanes; ++p) store(target + p * lie.pixel, rows[p]);
      } else {
        for (int64_t p = 0; p < pixels; ++p) store_some(target + p * lie.pixel, rows[p], count);
      }
    });
  }
}

// Asks for share `part` of `parts` of a row of `columns` pixels of `channels` channels, which the next row's work will
// read: neither memory format has long enough runs for the processor to see them coming.
template <typename X>
inline void prefetch_row(const X* from, const Lie& lie, int64_t columns, int64_t channels, int64_t part,
                         int64_t parts) {
  constexpr int64_t kStep = 64 / sizeof(X);
  const bool planes = lie.pixel == 1;
  const int64_t runs = planes ? channels : columns, length = planes ? columns : channels;
  const int64_t stride = planes ? lie.channel : lie.pixel;
  for (int64_t run = runs * part / parts; run < runs * (part + 1) / parts; ++run) {
    for (int64_t i = 0; i < length; i += kStep) __builtin_prefetch(from + run * stride + i, 0, 2);
  }
}

// Row r of the image stands in slot r mod K of a ring.
inline int64_t slot_of(int64_t row, int64_t kernel) { return (row + kernel) % kernel; }

inline int64_t round_up(int64_t count, int64_t to) { return (count + to - 1) / to * to; }

// Which part of the columns [left, left + columns) lies in the image.
struct Inside {
  int64_t begin, end;  // counted from left; begin <= end
};

inline Inside inside_of(int64_t left, int64_t columns, int64_t width) {
  const int64_t begin = std::clamp<int64_t>(-left, 0, columns);
  return {begin, std::clamp<int64_t>(width - left, begin, columns)};
}

// Row `row` of an image from column `left` on, as planes; zero where it lies outside the image. `image` is the first
// channel's.
template <typename X>
void read_rimmed_planes(const X* image, const Lie& lie, const InvolutionShape& shape, int64_t row, int64_t left,
                        int64_t columns, int64_t channels, float* to, int64_t plane) {
  const bool outside = row < 0 || row >= shape.height;
  const Inside inside = outside ? Inside{columns, columns} : inside_of(left, columns, shape.width);
  if (inside.end > inside.begin) {
    read_planes(image + row * lie.row + (left + inside.begin) * lie.pixel, lie, inside.end - inside.begin, channels,
                to + inside.begin, plane);
  }
  for (int64_t c = 0; c < channels; ++c) {
    std::fill_n(to + c * plane, inside.begin, 0.0f);
    std::fill_n(to + c * plane + inside.end, columns - inside.end, 0.0f);
  }
}

}  // namespace ROTACUBE_ISA
}  // namespace rotacube::cpu
