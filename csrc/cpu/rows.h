// Rows of pixels between memory and tiles; included once for each instruction set, after product.h.
//
// A tile's pixel is a run of lanes: floats, or bfloat16 where words are pairs.

namespace rotacube::cpu {
namespace ROTACUBE_ISA {

constexpr int64_t kTransposed = 16;  // pixels that are moved at a time between planes and pixels: a cache line

// Copies `columns` pixels of `channels` channels to lanes, pixel by pixel.
template <typename X, typename Lane>
void read_row(const X* from, int64_t channel_stride, int64_t column_stride, int64_t columns, int64_t channels, Lane* to,
              int64_t pixel_lanes) {
  if (channel_stride == 1) {
    for (int64_t c = 0; c < columns; ++c, from += column_stride, to += pixel_lanes) {
      if constexpr (std::is_same_v<X, Lane>) {
        std::memcpy(to, from, static_cast<std::size_t>(channels) * sizeof(Lane));
      } else {
        int64_t i = 0;
        for (; i + kLanes <= channels; i += kLanes) store(to + i, load(from + i));
        for (; i < channels; ++i) to[i] = convert<Lane>(from[i]);
      }
    }
    return;
  }
  for (int64_t c = 0; c < columns; c += kTransposed) {
    const int64_t block = std::min(kTransposed, columns - c);
    for (int64_t channel = 0; channel < channels; ++channel) {
      const X* source = from + channel * channel_stride + c * column_stride;
      Lane* target = to + c * pixel_lanes + channel;
      for (int64_t i = 0; i < block; ++i) target[i * pixel_lanes] = convert<Lane>(source[i * column_stride]);
    }
  }
}

// Copies pixels of `channels` floats or X to memory: the reverse.
template <typename X, typename Lane>
void write_row(const Lane* from, int64_t pixel_lanes, int64_t columns, int64_t channels, X* to, int64_t channel_stride,
               int64_t column_stride) {
  if (channel_stride == 1) {
    for (int64_t c = 0; c < columns; ++c, from += pixel_lanes, to += column_stride) {
      if constexpr (std::is_same_v<X, Lane>) {
        std::memcpy(to, from, static_cast<std::size_t>(channels) * sizeof(Lane));
      } else {
        int64_t i = 0;
        for (; i + kLanes <= channels; i += kLanes) store(to + i, load(from + i));
        for (; i < channels; ++i) to[i] = convert<X>(from[i]);
      }
    }
    return;
  }
  for (int64_t c = 0; c < columns; c += kTransposed) {
    const int64_t block = std::min(kTransposed, columns - c);
    for (int64_t channel = 0; channel < channels; ++channel) {
      const Lane* source = from + c * pixel_lanes + channel;
      X* target = to + channel * channel_stride + c * column_stride;
      for (int64_t i = 0; i < block; ++i) target[i * column_stride] = convert<X>(source[i * pixel_lanes]);
    }
  }
}

// Calls read(first, count, to) for the part of `columns` pixels from `left` on that lies in the image; the rest of the
// row is zero, all of it where the row lies outside.
template <typename Lane, typename Read>
void with_rim(bool inside, int64_t left, int64_t columns, int64_t width, Lane* to, int64_t pixel_lanes,
              const Read& read) {
  const auto clear = [&](int64_t first, int64_t last) {
    if (last > first) std::memset(to + first * pixel_lanes, 0, sizeof(Lane) * (last - first) * pixel_lanes);
  };
  if (!inside) return clear(0, columns);
  const int64_t begin = std::clamp<int64_t>(-left, 0, columns);
  const int64_t end = std::clamp<int64_t>(width - left, begin, columns);
  clear(0, begin);
  clear(end, columns);
  if (end > begin) read(left + begin, end - begin, to + begin * pixel_lanes);
}

// Words for sums over pixels: of floats each pixel is one, of bfloat16 two neighbours in the row make one.
#if defined(ROTACUBE_PAIRS)
// Pairs pixel 2i - shift with pixel 2i + 1 - shift, for `words` i; pixels outside [0, columns) are zero.
inline void pair_pixels(const BFloat16* from, int64_t pixel_lanes, int64_t columns, int64_t shift, int64_t lanes,
                        int64_t words, Pair* to, int64_t word_stride) {
  const auto pixel = [&](int64_t index) -> const BFloat16* {
    return index >= 0 && index < columns ? from + index * pixel_lanes : nullptr;
  };
  const auto bits = [](const BFloat16* at) {
    Halves halves;
    std::memcpy(&halves, at, sizeof(halves));
    return __builtin_convertvector(halves, Bits);
  };
  for (int64_t i = 0; i < words; ++i, to += word_stride) {
    const BFloat16* first = pixel(2 * i - shift);
    const BFloat16* second = pixel(2 * i + 1 - shift);
    int64_t lane = 0;
    for (; lane + kLanes <= lanes; lane += kLanes) {
      const Bits low = first != nullptr ? bits(first + lane) : Bits{};
      const Bits high = second != nullptr ? bits(second + lane) : Bits{};
      const Bits both = low | (high << 16);
      std::memcpy(to + lane, &both, sizeof(both));
    }
    for (; lane < lanes; ++lane) {
      to[lane] = {first != nullptr ? first[lane] : BFloat16{0}, second != nullptr ? second[lane] : BFloat16{0}};
    }
  }
}
#endif

}  // namespace ROTACUBE_ISA
}  // namespace rotacube::cpu
