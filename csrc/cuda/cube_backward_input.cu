// The Cube convolution on NVIDIA GPUs, backward to input and mask: the mirrored taps, one product for each segment
// (pixels x outputs) * (outputs x groups and phases). A warp keeps the sums of all four phases of its groups.
#include "cube_conv2d.h"
#include "cube_lattice.h"
#include "gemm_output.h"

namespace rotacube::cuda {
namespace {

constexpr int kRows = 128;   // pixels of a block
constexpr int kGroups = 32;  // groups of a block, 16 of a warp
constexpr int kWarpGroups = 16;

template <typename T>
struct CubeInputGradient {
  CubeLattice lattice;
  Plane<T> grad;
  const T* weight;  // by segment: (outputs, a warp's groups, phases, 16 groups), filled up with zeros
  const int64_t* order;
  Plane<T> mask;
  Plane<T> x;           // read for the mask's gradient only
  Plane<T> grad_x;      // without data where it is not wanted
  float* partial_mask;  // (a warp's groups, batch, 2 height, 2 width), or null
  int pixels, output_depth, padded_groups, stages;
};

template <typename T, typename W>
__global__ void pack_mirrored(CubeLattice lattice, const W* weight, Strides strides, int outputs, int output_depth,
                              int padded_groups, int64_t count, T* packed) {
  int64_t i = thread_number();
  if (i >= count) return;
  int64_t rest = i;
  int index = 0;
  CubeSegment segment = lattice.segment(0);
  for (;; segment = lattice.segment(++index)) {
    const int64_t size = static_cast<int64_t>(segment.phases()) * output_depth * padded_groups;
    if (rest < size) break;
    rest -= size;
  }
  const int pitch = segment.phases() * padded_groups;
  const int output = static_cast<int>(rest / pitch), column = static_cast<int>(rest % pitch);
  const int group = column / (kWarpGroups * segment.phases()) * kWarpGroups + column % kWarpGroups;
  const int phase = segment.phase(column / kWarpGroups % segment.phases());
  T value = narrow<T>(0.0f);
  if (output < outputs && group < lattice.groups) {
    const int tap = lattice.tap(segment, phase);
    value = read_tap<T>(weight, strides, output, group, tap, lattice.kernel);
  }
  packed[i] = value;
}

template <typename T>
struct CubeInputGradientOp {
  static constexpr int kAPitch = kDepth<T> + kPacket<T>, kBPitch = 4 * kGroups + kPacket<T>;
  static constexpr int kABytes = kRows * kAPitch * static_cast<int>(sizeof(T));
  static constexpr int kStageBytes = kABytes + kDepth<T> * kBPitch * static_cast<int>(sizeof(T));
  static constexpr int kUnits = kRows * 4 / kThreads;
  using Fetched = Packet[kUnits];

  const CubeInputGradient<T>& p;
  int group_tile, chunks;
  Place places[kUnits];
  Sums<T> sums[2][4];  // by phase

  __device__ static int unit(int i) { return static_cast<int>(threadIdx.x) + kThreads * i; }
  __device__ int row(int unit) const { return p.grad.strides.channel == 1 ? unit / 4 : unit % kRows; }
  __device__ int part(int unit) const { return p.grad.strides.channel == 1 ? unit % 4 : unit / kRows; }

  __device__ CubeInputGradientOp(const CubeInputGradient<T>& parameters, int first_row, int tile)
      : p(parameters), group_tile(tile), chunks(parameters.output_depth / kDepth<T>) {
#pragma unroll
    for (int i = 0; i < kUnits; ++i) {
      places[i] = place_of(first_row + row(unit(i)), p.pixels, p.grad.height, p.grad.width);
    }
    clear<T>(sums);
  }

  __device__ void fetch(int step, Fetched& fetched) {
    const CubeSegment segment = p.lattice.segment(step / chunks);
#pragma unroll
    for (int i = 0; i < kUnits; ++i) {
      fetched[i] = Packet{};
      int64_t offset;
      if (p.grad.find(places[i], -segment.row, -segment.column, offset)) {
        fetched[i] = p.grad.read_channels(offset, step % chunks * kDepth<T> + part(unit(i)) * kPacket<T>);
      }
    }
  }

  __device__ void store(const Fetched& fetched, char* stage) {
#pragma unroll
    for (int i = 0; i < kUnits; ++i) {
      write_packet(reinterpret_cast<T*>(stage) + row(unit(i)) * kAPitch + part(unit(i)) * kPacket<T>, fetched[i]);
    }
  }

  __device__ void copy(int step, char* stage) {
    int64_t before = 0;
    for (int i = 0; i < step / chunks; ++i) before += p.lattice.segment(i).phases();
    const int phases = p.lattice.segment(step / chunks).phases();
    const int pitch = phases * p.padded_groups, across = kGroups * phases / kPacket<T>;
    const T* const from = p.weight + before * p.output_depth * p.padded_groups +
                          static_cast<int64_t>(step % chunks) * kDepth<T> * pitch + group_tile * kGroups * phases;
    T* const to = reinterpret_cast<T*>(stage + kABytes);
    for (int u = static_cast<int>(threadIdx.x); u < kDepth<T> * across; u += kThreads) {
      const int k = u / across, column = u % across * kPacket<T>;
      __pipeline_memcpy_async(to + k * kBPitch + column, from + static_cast<int64_t>(k) * pitch + column, 16);
    }
  }

  __device__ void multiply(int step, char* stage) {
    const CubeSegment segment = p.lattice.segment(step / chunks);
    const int warp = static_cast<int>(threadIdx.x) / 32;
    Tile<T>::template multiply<kDepth<T>, true, false>(
        sums, reinterpret_cast<const T*>(stage) + warp / 2 * 32 * kAPitch, kAPitch,
        reinterpret_cast<const T*>(stage + kABytes) + warp % 2 * kWarpGroups * segment.phases(), kBPitch,
        segment.active());
  }
};

// The masks of a pixel's four phases, or ones.
template <typename T>
__device__ inline float mask_at(const Plane<T>& mask, const Place& place, int phase) {
  if (mask.data == nullptr) return 1.0f;
  const int64_t row = 2 * place.row + phase / 2, column = 2 * place.column + phase % 2;
  return widen(
      read(mask.data + place.image * mask.strides.batch + row * mask.strides.row + column * mask.strides.column));
}

// `tile` holds 16 pixels of a warp: (pixel, phase, 16 groups).
template <typename T>
__device__ inline void write_gradients(const CubeInputGradient<T>& p, const float* tile, int pixel, int first_group) {
  constexpr int kPitch = kTurnPitch<4>;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int height = p.grad.height, width = p.grad.width;
  if (p.grad_x.data != nullptr && p.grad_x.packets && p.order == nullptr) {
    constexpr int kAcross = 4 * kWarpGroups / kPacket<T>;
    for (int unit = lane; unit < 16 * kAcross; unit += 32) {
      const int row = unit / kAcross, first = unit % kAcross * kPacket<T>;
      const Place place = place_of(pixel + row, p.pixels, height, width);
      const int channel = 4 * first_group + first;
      int64_t offset;
      if (!p.grad_x.find(place, 0, 0, offset) || channel >= p.grad_x.channels) continue;
      Packet packet{};
#pragma unroll
      for (int e = 0; e < kPacket<T>; ++e) {
        const float sum = tile[row * kPitch + 16 * (e % 4) + (first + e) / 4];
        put(packet, e, narrow<T>(sum * mask_at(p.mask, place, e % 4)));
      }
      write_packet(p.grad_x.data + offset + channel, packet);
    }
  } else if (p.grad_x.data != nullptr) {
    for (int unit = lane; unit < 16 * 4 * kWarpGroups; unit += 32) {
      const bool across = p.grad_x.strides.channel == 1;
      const int row = across ? unit / (4 * kWarpGroups) : unit % 16;
      const int column = across ? unit % (4 * kWarpGroups) : unit / 16;
      const Place place = place_of(pixel + row, p.pixels, height, width);
      const int channel = 4 * first_group + column;
      int64_t offset;
      if (!p.grad_x.find(place, 0, 0, offset) || channel >= p.grad_x.channels) continue;
      const int64_t target = p.order == nullptr ? channel : p.order[channel];
      const float sum = tile[row * kPitch + 16 * (column % 4) + column / 4];
      p.grad_x.data[offset + target * p.grad_x.strides.channel] = narrow<T>(sum * mask_at(p.mask, place, column % 4));
    }
  }
  if (p.partial_mask == nullptr) return;
  for (int unit = lane; unit < 16 * 4; unit += 32) {
    const int row = unit / 4, phase = unit % 4;
    const Place place = place_of(pixel + row, p.pixels, height, width);
    int64_t offset;
    if (!p.x.find(place, 0, 0, offset)) continue;
    float sum = 0.0f;
    for (int g = 0; g < kWarpGroups && first_group + g < p.lattice.groups; ++g) {
      const int channel = 4 * (first_group + g) + phase;
      const int64_t source = p.order == nullptr ? channel : p.order[channel];
      sum =
          fmaf(tile[row * kPitch + 16 * phase + g], widen(read(p.x.data + offset + source * p.x.strides.channel)), sum);
    }
    const int64_t slot = static_cast<int64_t>(first_group / kWarpGroups) * 4 * p.pixels;
    const int64_t line = 2 * (static_cast<int64_t>(place.image) * height + place.row) + phase / 2;
    p.partial_mask[slot + line * 2 * width + 2 * place.column + phase % 2] = sum;
  }
}

template <typename T>
__global__ void __launch_bounds__(kThreads) cube_input_gradient(CubeInputGradient<T> p) {
  char* const shared = shared_memory();
  const int group_tiles = p.padded_groups / kGroups;
  const int first_row = static_cast<int>(blockIdx.x) / group_tiles * kRows;
  CubeInputGradientOp<T> op(p, first_row, static_cast<int>(blockIdx.x) % group_tiles);
  run_steps(op, 0, p.lattice.segments() * op.chunks, shared, p.stages);
  const int warp = static_cast<int>(threadIdx.x) / 32;
  float* const tile = reinterpret_cast<float*>(shared + warp * kTurnBytes<4>);
#pragma unroll
  for (int i = 0; i < 2; ++i) {
#pragma unroll
    for (int phase = 0; phase < 4; ++phase) Tile<T>::store(op.sums[i][phase], tile + 16 * phase, kTurnPitch<4>);
    __syncwarp();
    write_gradients(p, tile, first_row + warp / 2 * 32 + 16 * i, op.group_tile * kGroups + warp % 2 * kWarpGroups);
    __syncwarp();
  }
}

template <typename T>
__global__ void add_up_mask(const float* partial, int slots, int64_t count, T* grad_mask) {
  const int64_t i = thread_number();
  if (i >= count) return;
  float sum = 0.0f;
  for (int slot = 0; slot < slots; ++slot) sum += partial[slot * count + i];
  grad_mask[i] = narrow<T>(sum);
}

template <typename T>
struct Places {
  T* weight;
  float* partial_mask;
  int64_t weights;
  int output_depth, padded_groups;
  int64_t bytes;
};

template <typename T>
Places<T> places_in(void* workspace, const CubeShape& shape, bool want_mask) {
  Arena arena(workspace);
  Places<T> at;
  at.output_depth = static_cast<int>(up_to(shape.outputs, kDepth<T>));
  at.padded_groups = static_cast<int>(up_to(shape.channels / 4, kGroups));
  at.weights = shape.kernel * shape.kernel * at.output_depth * at.padded_groups;
  at.weight = arena.take<T>(at.weights);
  const int64_t pixels = shape.batch * shape.height * shape.width;
  at.partial_mask = want_mask ? arena.take<float>(at.padded_groups / kWarpGroups * 4 * pixels) : nullptr;
  at.bytes = arena.bytes();
  return at;
}

template <typename T, typename W>
cudaError_t backward(const CubeShape& shape, const CubeTensors& in, const void* grad, const Strides& grad_strides,
                     void* grad_x, const Strides& grad_x_strides, void* grad_mask, void* workspace,
                     cudaStream_t stream) {
  const int64_t pixels = shape.batch * shape.height * shape.width;
  if (pixels >= kMostPixels) return cudaErrorInvalidValue;
  if (pixels == 0) return cudaSuccess;
  const Places<T> at = places_in<T>(workspace, shape, grad_mask != nullptr);
  const CubeLattice lattice = lattice_of(shape);
  const auto plane = [&](const void* data, const Strides& strides, int64_t channels, int64_t scale) {
    return plane_of<T>(data, strides, channels, scale * shape.height, scale * shape.width);
  };
  const CubeInputGradient<T> p = {lattice,
                                  plane(grad, grad_strides, shape.outputs, 1),
                                  at.weight,
                                  in.order,
                                  plane(in.mask, in.mask_strides, 1, 2),
                                  plane(in.x, in.x_strides, shape.channels, 1),
                                  plane(grad_x, grad_x_strides, shape.channels, 1),
                                  grad_mask == nullptr ? nullptr : at.partial_mask,
                                  static_cast<int>(pixels),
                                  at.output_depth,
                                  at.padded_groups,
                                  2};
  cudaError_t error =
      launch_each(pack_mirrored<T, W>, at.weights, stream, lattice, static_cast<const W*>(in.weight), in.weight_strides,
                  static_cast<int>(shape.outputs), at.output_depth, at.padded_groups, at.weights, at.weight);
  if (error != cudaSuccess) return error;
  constexpr int64_t kTurn = kWarps * kTurnBytes<4>, kStages = 2 * CubeInputGradientOp<T>::kStageBytes;
  error = launch(cube_input_gradient<T>, up_to(pixels, kRows) / kRows * (at.padded_groups / kGroups), kThreads,
                 kStages > kTurn ? kStages : kTurn, stream, p);
  if (error != cudaSuccess || grad_mask == nullptr) return error;
  return launch_each(add_up_mask<T>, 4 * pixels, stream, static_cast<const float*>(at.partial_mask),
                     at.padded_groups / kWarpGroups, 4 * pixels, static_cast<T*>(grad_mask));
}

}  // namespace

int64_t cube_conv2d_backward_input_workspace(const CubeShape& shape, Element element, bool want_mask) {
  return with_element(element, [&](auto type) { return places_in<decltype(type)>(nullptr, shape, want_mask).bytes; });
}

cudaError_t cube_conv2d_backward_input(const CubeShape& shape, const CubeTensors& in, const void* grad,
                                       const Strides& grad_strides, void* grad_x, const Strides& grad_x_strides,
                                       void* grad_mask, void* workspace, cudaStream_t stream) {
  return with_elements(in.element, in.wide_weight, [&](auto type, auto weight) {
    return backward<decltype(type), decltype(weight)>(shape, in, grad, grad_strides, grad_x, grad_x_strides, grad_mask,
                                                      workspace, stream);
  });
}

}  // namespace rotacube::cuda
