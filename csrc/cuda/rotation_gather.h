// The gradients of the four rotations, gathered: Q_k[p] = sum over r of dY_r[p + padding - position of tap k in r].
//
// dY_r is the gradient where the arg-max is r, and zero elsewhere. Then dX = sum over k of W_k^T Q_k and dW_k = Q_k
// X^T: the work of one convolution. The four taps of an orbit read the same four places, so Q is gathered by orbits: a
// step has the four taps of an orbit for some outputs, or the centre for four times as many.
#pragma once

#include "gemm_tile.h"
#include "rotation_conv2d.h"
#include "rotation_orbits.h"

namespace rotacube::cuda {

// The outputs of a step, of one tap: 32 bytes.
template <typename T>
constexpr int kStepOutputs = kDepth<T> / 2;
template <typename T>
constexpr int kStepColumns = 4 * kStepOutputs<T>;

// What the columns of Q stand for.
struct GatherSteps {
  Orbits orbits;
  int outputs, step_outputs;

  ROTACUBE_HOST_DEVICE int centre_steps() const { return (outputs + 4 * step_outputs - 1) / (4 * step_outputs); }
  ROTACUBE_HOST_DEVICE int orbit_steps() const { return (outputs + step_outputs - 1) / step_outputs; }
  ROTACUBE_HOST_DEVICE int count() const { return centre_steps() + orbits.count() * orbit_steps(); }

  // The tap and the output (which may be one too many) of a column.
  __device__ void find(int column, int& tap, int& output) const {
    const int step = column / (4 * step_outputs), within = column % (4 * step_outputs);
    if (step < centre_steps()) {
      tap = orbits.centre();
      output = column;
    } else {
      const int ring = step - centre_steps();
      tap = orbits.position(ring / orbit_steps(), within / step_outputs);
      output = ring % orbit_steps() * step_outputs + within % step_outputs;
    }
  }

  __device__ int column(int tap, int output) const {
    if (tap == orbits.centre()) return output;
    int orbit = 0, j = 0;
    for (; j < 4; ++j) {  // turned back j times it lies among the first positions
      const int first = static_cast<int>(tap_at((4 - j) & 3, tap / orbits.kernel, tap % orbits.kernel, orbits.kernel));
      const int row = first / orbits.kernel, column = first % orbits.kernel;
      orbit = row * (orbits.half() + 1) + column;
      if (row < orbits.half() && column <= orbits.half()) break;
    }
    const int step = centre_steps() + orbit * orbit_steps() + output / step_outputs;
    return step * 4 * step_outputs + j * step_outputs + output % step_outputs;
  }
};

// The gradient as it came, and the arg-max.
template <typename T>
struct RotationGradient {
  GatherSteps steps;
  Plane<T> grad;
  const int32_t* index;  // null with one rotation
  int index_words, padding;
};

template <typename T>
RotationGradient<T> rotation_gradient(const RotationShape& shape, const void* grad, const Strides& strides,
                                      const int32_t* index) {
  return {{{static_cast<int>(shape.kernel)}, static_cast<int>(shape.outputs), kStepOutputs<T>},
          plane_of<T>(grad, strides, shape.outputs, shape.out_height(), shape.out_width()),
          index,
          static_cast<int>(up_to(shape.outputs, kIndexOutputs) / kIndexOutputs),
          static_cast<int>(shape.padding)};
}

// Some outputs of a step at a pixel: first fetched as they lie, then sorted by tap.
template <typename T>
struct RotationGather {
  Packet packet[4];  // by position of the orbit; of the centre, by outputs
  uint32_t word[4];

  __device__ void fetch(const RotationGradient<T>& in, const Place& place, int step, int part) {
    const int kernel = in.steps.orbits.kernel, ring = step - in.steps.centre_steps();
    const int output =
        part * kPacket<T> + (ring < 0 ? step * kStepColumns<T> : ring % in.steps.orbit_steps() * kStepOutputs<T>);
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      packet[i] = Packet{};
      word[i] = 0;
      const int position =
          ring < 0 ? in.steps.orbits.centre() : in.steps.orbits.position(ring / in.steps.orbit_steps(), i);
      const int down = in.padding - position / kernel, right = in.padding - position % kernel;
      int64_t offset;
      if (!in.grad.find(place, down, right, offset)) continue;
      packet[i] = in.grad.read_channels(offset, ring < 0 ? output + i * kStepOutputs<T> : output);
      if (ring < 0 || in.index == nullptr || output >= in.grad.channels) continue;
      const int64_t line = static_cast<int64_t>(place.image) * in.grad.height + place.row + down;
      const int64_t pixel = line * in.grad.width + place.column + right;
      word[i] = static_cast<uint32_t>(__ldg(in.index + pixel * in.index_words + output / 16)) >> output % 16;
    }
  }

  // Four packets, one for each tap, kStepOutputs apart.
  __device__ void write(const RotationGradient<T>& in, int step, T* to) const {
    if (step < in.steps.centre_steps()) {
#pragma unroll
      for (int j = 0; j < 4; ++j) write_packet(to + j * kStepOutputs<T>, packet[j]);
      return;
    }
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      Packet out{};
#pragma unroll
      for (int e = 0; e < kPacket<T>; ++e) {
        float sum = 0.0f;
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          const uint32_t r = (word[i] >> e & 1) | (word[i] >> (16 + e) & 1) << 1;
          if (r == ((j - i) & 3)) sum += widen(element<T>(packet[i], e));
        }
        put(out, e, narrow<T>(sum));
      }
      write_packet(to + j * kStepOutputs<T>, out);
    }
  }
};

}  // namespace rotacube::cuda
