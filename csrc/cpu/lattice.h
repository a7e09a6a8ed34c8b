// The lattice of the Cube convolution, read from x pixel by pixel; included once for each instruction set, after
// rows.h.

namespace rotacube::cpu {
namespace ROTACUBE_ISA {

#if defined(ROTACUBE_SHUFFLES)
template <typename Lane, int COUNT>
struct LaneRow {
  typedef Lane Type __attribute__((vector_size(COUNT * sizeof(Lane))));
};

template <int COUNT, typename X, typename To>
inline void load_lanes(const X* from, To& row) {
  if constexpr (sizeof(To) == COUNT * sizeof(X)) {
    std::memcpy(&row, from, sizeof(row));
  } else {
    float wide[COUNT];
    for (int i = 0; i < COUNT; i += kLanes) store(wide + i, load(from + i));
    std::memcpy(&row, wide, sizeof(row));
  }
}

// Splits groups in blocks of S, from `begin` on, as long as there are so many; returns how far it came.
template <int S, bool BR, typename X, typename Lane, int... I>
inline int64_t split_blocks(const X* from, int64_t begin, int64_t groups, Lane* to, int64_t run,
                            std::integer_sequence<int, I...>) {
  int64_t g = begin;
  for (; g + S <= groups; g += S) {
    typename LaneRow<std::conditional_t<std::is_same_v<Lane, float>, float, uint16_t>, 4 * S>::Type row;
    load_lanes<4 * S>(from + 4 * g, row);
    row = __builtin_shufflevector(row, row, (4 * (I % S) + kPhaseOrder[BR][I / S])...);
#pragma GCC unroll 4
    for (int place = 0; place < 4; ++place) {
      const char* part = reinterpret_cast<const char*>(&row) + place * S * sizeof(Lane);
      std::memcpy(to + place * run + g, part, S * sizeof(Lane));
    }
  }
  if constexpr (S > 2 && 2 * S >= kLanes) {
    return split_blocks<S / 2, BR>(from, g, groups, to, run, std::make_integer_sequence<int, 2 * S>());
  }
  return g;
}

template <int... I>
inline Vector zip(Vector a, Vector b, bool upper, std::integer_sequence<int, I...>) {
  const Vector low = __builtin_shufflevector(a, b, (I % 2 * kLanes + I / 2)...);
  const Vector high = __builtin_shufflevector(a, b, (I % 2 * kLanes + I / 2 + kLanes / 2)...);
  return upper ? high : low;
}
#endif

// Reorders one pixel's channels from interleaved phases to a run of lanes for each.
template <bool BR, typename X, typename Lane>
inline void split_phases(const X* from, int64_t groups, Lane* to, int64_t run) {
  int64_t g = 0;
#if defined(ROTACUBE_SHUFFLES)
  constexpr int kBlock = kLanes / static_cast<int>(sizeof(Lane));  // groups that fill a vector
  if constexpr (kBlock > 1) {
    g = split_blocks<kBlock, BR>(from, 0, groups, to, run, std::make_integer_sequence<int, 4 * kBlock>());
  }
#endif
  for (; g < groups; ++g) {
    for (int place = 0; place < 4; ++place) to[place * run + g] = convert<Lane>(from[4 * g + kPhaseOrder[BR][place]]);
  }
}

// The reverse, from floats.
template <bool BR, typename X>
inline void merge_phases(const float* from, int64_t groups, int64_t run, X* to) {
  int64_t g = 0;
  const float* phase[4];
  for (int place = 0; place < 4; ++place) phase[kPhaseOrder[BR][place]] = from + place * run;
#if defined(ROTACUBE_SHUFFLES)
  constexpr auto kEach = std::make_integer_sequence<int, kLanes>();
  for (; g + kLanes <= groups; g += kLanes) {
    const Vector v0 = load(phase[0] + g), v1 = load(phase[1] + g), v2 = load(phase[2] + g), v3 = load(phase[3] + g);
    for (int half = 0; half < 2; ++half) {
      const Vector even = zip(v0, v2, half == 1, kEach), odd = zip(v1, v3, half == 1, kEach);
      store(to + 4 * g + 2 * half * kLanes, zip(even, odd, false, kEach));
      store(to + 4 * g + (2 * half + 1) * kLanes, zip(even, odd, true, kEach));
    }
  }
#endif
  for (; g < groups; ++g) {
    for (int i = 0; i < 4; ++i) to[4 * g + i] = convert<X>(phase[i][g]);
  }
}

// x as a lattice: reads pixels with the phases in their order, `run` lanes each (of which the last may be padding).
template <typename X, typename Lane>
class Lattice {
 public:
  Lattice(const CubeShape& shape, const CubeInput<X>& input, int64_t run)
      : shape_(shape), in_(input), groups_(shape.channels / 4), run_(run) {
    for (int place = 0; place < 4; ++place) {
      for (int64_t g = 0; g < groups_; ++g) {
        const int64_t channel = 4 * g + kPhaseOrder[shape.bottom_right][place];
        channels_.push_back(input.order != nullptr ? input.order[channel] : channel);
      }
    }
  }

  // x's channel at a place in the order of phases.
  int64_t channel(int64_t place, int64_t group) const { return channels_[place * groups_ + group]; }

  float mask(int64_t image, int64_t row, int64_t column, int64_t place) const {
    return widen(in_.mask[mask_index(image, row, column, place)]);
  }
  int64_t mask_index(int64_t image, int64_t row, int64_t column, int64_t place) const {
    const int phase = kPhaseOrder[shape_.bottom_right][place];
    return image * in_.mask_strides.batch + (2 * row + phase / 2) * in_.mask_strides.row +
           (2 * column + phase % 2) * in_.mask_strides.column;
  }

  // Part of a row, with zeros where there is no image.
  void read(int64_t image, int64_t row, int64_t left, int64_t columns, Lane* to, int64_t pixel_lanes) const {
    with_rim(row >= 0 && row < shape_.height, left, columns, shape_.width, to, pixel_lanes,
             [&](int64_t first, int64_t count, Lane* target) {
               read_inside(image, row, first, count, target, pixel_lanes);
               if (in_.mask != nullptr) multiply_mask(image, row, first, count, target, pixel_lanes);
             });
  }

 private:
  void read_inside(int64_t image, int64_t row, int64_t left, int64_t columns, Lane* to, int64_t pixel_lanes) const {
    const Strides& strides = in_.strides;
    const X* from = in_.x + image * strides.batch + row * strides.row + left * strides.column;
    if (run_ > groups_) {  // the lanes that fill up a word
      for (int64_t c = 0; c < columns; ++c) {
        for (int place = 0; place < 4; ++place) to[c * pixel_lanes + place * run_ + groups_] = Lane{};
      }
    }
    if (strides.channel == 1 && in_.order == nullptr) {
      for (int64_t c = 0; c < columns; ++c, from += strides.column, to += pixel_lanes) {
        if (shape_.bottom_right) {
          split_phases<true>(from, groups_, to, run_);
        } else {
          split_phases<false>(from, groups_, to, run_);
        }
      }
      return;
    }
    const int64_t step = strides.channel == 1 ? 1 : kTransposed;
    for (int64_t c = 0; c < columns; c += step) {
      const int64_t block = std::min(step, columns - c);
      for (int place = 0; place < 4; ++place) {
        for (int64_t g = 0; g < groups_; ++g) {
          const X* source = from + channel(place, g) * strides.channel + c * strides.column;
          Lane* target = to + c * pixel_lanes + place * run_ + g;
          for (int64_t i = 0; i < block; ++i) target[i * pixel_lanes] = convert<Lane>(source[i * strides.column]);
        }
      }
    }
  }

  void multiply_mask(int64_t image, int64_t row, int64_t left, int64_t columns, Lane* to, int64_t pixel_lanes) const {
    for (int64_t c = 0; c < columns; ++c, to += pixel_lanes) {
      for (int place = 0; place < 4; ++place) {
        const float factor = mask(image, row, left + c, place);
        Lane* const lanes = to + place * run_;
        int64_t g = 0;
        for (; g + kLanes <= groups_; g += kLanes) store(lanes + g, load(lanes + g) * factor);
        for (; g < groups_; ++g) lanes[g] = convert<Lane>(widen(lanes[g]) * factor);
      }
    }
  }

  const CubeShape& shape_;
  const CubeInput<X>& in_;
  const int64_t groups_;
  const int64_t run_;
  std::vector<int64_t> channels_;
};

}  // namespace ROTACUBE_ISA
}  // namespace rotacube::cpu
