// How the Cube convolution becomes a matrix product, and how its input is read.
//
// The taps are gathered by the coarse pixel that they fall on: its segment. Of the four phases of a group a segment has
// one, two or all. For K = 3 there are four segments with 4, 2, 2 and 1 phases: the channels of the pixel itself, half
// of those of two neighbours, a quarter of the third's. In a segment the depth of the product runs over (group, phase),
// which is how the channels lie in memory; each segment is filled up with zeros to whole steps.
#pragma once

#include "../include/cube_conv2d.h"
#include "cube_conv2d.h"
#include "gemm_tile.h"

namespace rotacube::cuda {

struct CubeSegment {
  int row, column;                // the coarse pixel, relative to the output's
  int row_halves, column_halves;  // bit 0: the first half takes part, bit 1: the second

  ROTACUBE_HOST_DEVICE static int count(int halves) { return halves == 3 ? 2 : 1; }
  ROTACUBE_HOST_DEVICE int phases() const { return count(row_halves) * count(column_halves); }
  // The phase (2 * row half + column half) of a rank among the phases that take part.
  ROTACUBE_HOST_DEVICE int phase(int rank) const {
    const int across = count(column_halves);
    return 2 * (row_halves == 2 ? 1 : rank / across) + (column_halves == 2 ? 1 : rank % across);
  }
  ROTACUBE_HOST_DEVICE unsigned int active() const {  // a bit for each phase
    const unsigned int columns = static_cast<unsigned int>(column_halves);
    return ((row_halves & 1) != 0 ? columns : 0u) | ((row_halves & 2) != 0 ? columns << 2 : 0u);
  }
};

struct CubeLattice {
  int groups, kernel;
  bool bottom_right;

  ROTACUBE_HOST_DEVICE int low() const { return (bottom_right ? 1 : 0) - kernel / 2; }  // the first tap, fine
  ROTACUBE_HOST_DEVICE static int coarse(int fine) { return (fine - (fine & 1)) / 2; }
  ROTACUBE_HOST_DEVICE int across() const { return coarse(low() + kernel - 1) - coarse(low()) + 1; }
  ROTACUBE_HOST_DEVICE int segments() const { return across() * across(); }
  ROTACUBE_HOST_DEVICE int halves(int coarse_pixel) const {
    const int fine = 2 * coarse_pixel, high = low() + kernel - 1;
    return (fine >= low() && fine <= high ? 1 : 0) | (fine + 1 >= low() && fine + 1 <= high ? 2 : 0);
  }
  ROTACUBE_HOST_DEVICE CubeSegment segment(int index) const {
    const int row = coarse(low()) + index / across(), column = coarse(low()) + index % across();
    return {row, column, halves(row), halves(column)};
  }
  // The tap (row * K + column) of a phase of a segment.
  ROTACUBE_HOST_DEVICE int tap(const CubeSegment& segment, int phase) const {
    return (2 * segment.row + phase / 2 - low()) * kernel + 2 * segment.column + phase % 2 - low();
  }
};

inline CubeLattice lattice_of(const CubeShape& shape) {
  return {static_cast<int>(shape.channels / 4), static_cast<int>(shape.kernel), shape.bottom_right};
}

// The depth of all segments, in steps of `step`.
ROTACUBE_HOST_DEVICE inline int depth_of(const CubeLattice& lattice, const CubeSegment& segment, int step) {
  return (lattice.groups * segment.phases() + step - 1) / step * step;
}
inline int depth_of(const CubeLattice& lattice, int step) {
  int depth = 0;
  for (int i = 0; i < lattice.segments(); ++i) depth += depth_of(lattice, lattice.segment(i), step);
  return depth;
}

// What one place of the depth stands for; group -1 where it only fills up.
struct CubeDepth {
  CubeSegment segment;
  int group, phase;
};

__device__ inline CubeDepth depth_at(const CubeLattice& lattice, int k, int step) {
  CubeSegment segment = lattice.segment(0);
  for (int i = 1; k >= depth_of(lattice, segment, step); ++i) {
    k -= depth_of(lattice, segment, step);
    segment = lattice.segment(i);
  }
  const int group = k / segment.phases();
  return {segment, group < lattice.groups ? group : -1, segment.phase(k % segment.phases())};
}

// Where a tap of a group lies in the depth.
__device__ inline int depth_of_tap(const CubeLattice& lattice, int group, int tap, int step) {
  const int down = tap / lattice.kernel + lattice.low(), right = tap % lattice.kernel + lattice.low();
  const int index = (lattice.coarse(down) - lattice.coarse(lattice.low())) * lattice.across() + lattice.coarse(right) -
                    lattice.coarse(lattice.low());
  int k = 0;
  for (int i = 0; i < index; ++i) k += depth_of(lattice, lattice.segment(i), step);
  const CubeSegment segment = lattice.segment(index);
  const int phase = 2 * (down & 1) + (right & 1);
  int rank = 0;
  while (segment.phase(rank) != phase) ++rank;
  return k + group * segment.phases() + rank;
}

// Walks through the steps of the depth.
template <typename T>
struct CubeStep {
  int index;  // of the segment
  int first;  // in the segment
  CubeSegment segment;

  __device__ void start(const CubeLattice& lattice, int k) {
    index = 0;
    segment = lattice.segment(0);
    while (index + 1 < lattice.segments() && k >= depth_of(lattice, segment, kDepth<T>)) {
      k -= depth_of(lattice, segment, kDepth<T>);
      segment = lattice.segment(++index);
    }
    first = k;  // may lie behind the last segment's end: then it reads zeros
  }
  __device__ void advance(const CubeLattice& lattice) {
    first += kDepth<T>;
    if (first < lattice.groups * segment.phases()) return;
    segment = lattice.segment(++index);
    first = 0;
  }
};

// The input with its order and mask. `channels` says which channel of x each place of the depth reads, -1 for none.
template <typename T>
struct CubeInput {
  Plane<T> x;
  Plane<T> mask;  // without data where there is none
  const int* channels;
};

template <typename T>
CubeInput<T> cube_input(const CubeShape& shape, const CubeTensors& in, const int* channels) {
  CubeInput<T> input = {plane_of<T>(in.x, in.x_strides, shape.channels, shape.height, shape.width),
                        plane_of<T>(in.mask, in.mask_strides, 1, 2 * shape.height, 2 * shape.width), channels};
  input.x.packets = input.x.packets && in.order == nullptr;
  return input;
}

// A packet of the gathered input: neighbours in the depth, of one pixel. First fetched as it lies, then picked.
template <typename T>
struct CubeGather {
  Packet packet[2];
  T mask[4];  // by rank

  // `k` counts in the segment, `packed_k` from the first segment on.
  __device__ void fetch(const CubeInput<T>& in, const Place& place, const CubeSegment& segment, int k, int packed_k) {
    packet[0] = packet[1] = Packet{};
    int64_t offset;
    if (!in.x.find(place, segment.row, segment.column, offset)) return;
    const int phases = segment.phases();
    if (in.x.packets && phases == 4) {
      packet[0] = in.x.read_channels(offset, k);
    } else if (in.x.packets && phases == 2) {
      packet[0] = in.x.read_channels(offset, 2 * k);
      packet[1] = in.x.read_channels(offset, 2 * k + kPacket<T>);
    } else {
#pragma unroll
      for (int i = 0; i < kPacket<T>; ++i) {
        const int channel = __ldg(in.channels + packed_k + i);
        if (channel >= 0) put(packet[0], i, read(in.x.data + offset + channel * in.x.strides.channel));
      }
    }
    if (in.mask.data == nullptr) return;
#pragma unroll
    for (int rank = 0; rank < 4; ++rank) {
      if (rank >= phases) continue;
      const int phase = segment.phase(rank);
      const int64_t row = 2 * (place.row + segment.row) + phase / 2;
      const int64_t column = 2 * (place.column + segment.column) + phase % 2;
      mask[rank] = read(in.mask.data + place.image * in.mask.strides.batch + row * in.mask.strides.row +
                        column * in.mask.strides.column);
    }
  }

  __device__ Packet pick(const CubeInput<T>& in, const Place& place, const CubeSegment& segment) const {
    const int phases = segment.phases();
    Packet out = packet[0];
    if (in.x.packets && phases == 2) out = pick_two(segment.phase(0), segment.phase(1));
    int64_t offset;
    if (in.mask.data == nullptr || !in.x.find(place, segment.row, segment.column, offset)) return out;
    if (phases == 4) return masked<4>(out);
    if (phases == 2) return masked<2>(out);
    return masked<1>(out);
  }

 private:
  // Two of the four phases of each group.
  __device__ Packet pick_two(int first, int second) const {
    Packet out;
    if constexpr (sizeof(T) == 4) {
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        const uint32_t* const word = packet[i].word;
        out.word[2 * i] = first == 0 ? word[0] : first == 1 ? word[1] : word[2];
        out.word[2 * i + 1] = second == 1 ? word[1] : second == 2 ? word[2] : word[3];
      }
    } else {
      const unsigned int bytes = (0x10u + 0x22u * first) | (0x10u + 0x22u * second) << 8;
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        out.word[i] = __byte_perm(packet[i / 2].word[i % 2 * 2], packet[i / 2].word[i % 2 * 2 + 1], bytes);
      }
    }
    return out;
  }

  template <int PHASES>
  __device__ Packet masked(const Packet& from) const {
    Packet out{};
#pragma unroll
    for (int i = 0; i < kPacket<T>; ++i) {
      put(out, i, narrow<T>(widen(element<T>(from, i)) * widen(mask[i % PHASES])));
    }
    return out;
  }
};

// Fills the table of channels; the depth of a step is `step`.
cudaError_t name_channels(const CubeLattice& lattice, int depth, int step, const int64_t* order, int* channels,
                          cudaStream_t stream);

}  // namespace rotacube::cuda
