// One window of network input; included once for each instruction set.

namespace rotacube::cpu {
namespace ROTACUBE_ISA {

// sum = the rows of `axis` at one place, blended; each row is `width` long, row i begins at `from(i)`.
template <typename From>
inline void blend_rows(const WindowAxis& axis, int64_t place, int64_t width, float* sum, const From& from) {
  for (int64_t i = 0; i < width; ++i) sum[i] = 0.0f;
  for (int64_t k = 0; k < axis.taps; ++k) {
    const float weight = axis.weight[k * axis.count + place];
    if (weight == 0.0f) continue;
    const float* const row = from(axis.index[k * axis.count + place]);
    for (int64_t i = 0; i < width; ++i) sum[i] += row[i] * weight;
  }
}

inline void blend_columns(const WindowAxis& axis, const float* row, float* sum) {
  for (int64_t i = 0; i < axis.count; ++i) sum[i] = 0.0f;
  for (int64_t k = 0; k < axis.taps; ++k) {
    const int64_t* const index = axis.index + k * axis.count;
    const float* const weight = axis.weight + k * axis.count;
    for (int64_t i = 0; i < axis.count; ++i) sum[i] += row[index[i]] * weight[i];
  }
}

// The source rows of one band, scaled when they are first asked for, zero where nothing is valid; the last few are
// kept.
template <typename X>
class ScaledRows {
 public:
  ScaledRows(const Window& window, const X* values, int64_t band, float* memory, int64_t* held, int64_t kept)
      : window_(window),
        values_(values + band * window.height * window.width),
        low_(window.low[band]),
        span_(window.span[band]),
        memory_(memory),
        held_(held),
        kept_(kept) {
    std::fill_n(held, kept, int64_t{-1});
  }

  const float* operator()(int64_t number) const {
    float* const row = memory_ + number % kept_ * window_.width;
    if (held_[number % kept_] == number) return row;
    held_[number % kept_] = number;
    const X* const from = values_ + number * window_.width;
    for (int64_t i = 0; i < window_.width; ++i) row[i] = (static_cast<float>(from[i]) - low_) / span_;
    if (window_.valid != nullptr) {
      const uint8_t* const valid = window_.valid + number * window_.width;
      for (int64_t i = 0; i < window_.width; ++i) row[i] = valid[i] != 0 ? row[i] : 0.0f;
    }
    return row;
  }

 private:
  const Window& window_;
  const X* const values_;
  const float low_, span_;
  float* const memory_;
  int64_t* const held_;
  const int64_t kept_;
};

// How much of each target pixel valid source pixels carry: (rows, columns). At least half of it makes a pixel seen.
inline void weigh(const Window& window, float* line, float* mask, float* shares) {
  for (int64_t r = 0; r < window.rows.count; ++r) {
    float* const share = shares + r * window.columns.count;
    blend_rows(window.rows, r, window.width, line, [&](int64_t number) {
      const uint8_t* const valid = window.valid + number * window.width;
      for (int64_t i = 0; i < window.width; ++i) mask[i] = valid[i] != 0 ? 1.0f : 0.0f;
      return mask;
    });
    blend_columns(window.columns, line, share);
    uint8_t* const seen = window.seen + r * window.seen_row;
    for (int64_t i = 0; i < window.columns.count; ++i) seen[i] = seen[i] != 0 && share[i] >= 0.5f ? 1 : 0;
  }
}

template <typename X>
void network_input(const Window& window, const X* values) {
  const WindowAxis &rows = window.rows, &columns = window.columns;
  const bool moved = columns.index != nullptr;
  const int64_t kept = moved ? rows.taps : 1;
  const Buffer<float> scaled = allocate<float>(kept * window.width);
  const Buffer<int64_t> held = allocate<int64_t>(kept);
  const Buffer<float> line = allocate<float>(window.width);
  const Buffer<float> sums = allocate<float>(columns.count);
  const bool partly = window.valid != nullptr;
  const Buffer<float> shares = allocate<float>(moved && partly ? rows.count * columns.count : 1);
  if (moved && partly) weigh(window, line.get(), scaled.get(), shares.get());
  if (!moved && partly) {
    for (int64_t r = 0; r < rows.count; ++r) {
      uint8_t* const seen = window.seen + r * window.seen_row;
      for (int64_t i = 0; i < columns.count; ++i) seen[i] = seen[i] != 0 && window.valid[r * window.width + i] != 0;
    }
  }
  for (int64_t band = 0; band < window.bands; ++band) {
    const ScaledRows<X> source(window, values, band, scaled.get(), held.get(), kept);
    const float mean = window.mean[band], deviation = window.deviation[band];
    for (int64_t r = 0; r < rows.count; ++r) {
      const uint8_t* const seen = window.seen + r * window.seen_row;
      const float* row = sums.get();
      if (moved) {
        blend_rows(rows, r, window.width, line.get(), source);
        blend_columns(columns, line.get(), sums.get());
        if (partly) {
          const float* const share = shares.get() + r * columns.count;
          for (int64_t i = 0; i < columns.count; ++i) {
            // Where nothing is missing the value is what it is in a window without nodata, to the bit.
            const bool mended = seen[i] != 0 && share[i] < 0.99999f;
            sums[i] = mended ? sums[i] / share[i] : sums[i];
          }
        }
      } else {
        row = source(r);
      }
      float* const out = window.out + band * window.out_band + r * window.out_row;
      for (int64_t i = 0; i < columns.count; ++i) {
        const float value = std::min(std::max(row[i], 0.0f), 1.0f);
        out[i * window.out_column] = seen[i] != 0 ? (value - mean) / deviation : 0.0f;
      }
    }
  }
}

}  // namespace ROTACUBE_ISA
}  // namespace rotacube::cpu
