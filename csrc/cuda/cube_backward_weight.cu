// The Cube convolution on NVIDIA GPUs, backward to the weight: (outputs x pixels) * (pixels x depth), the right side
// gathered as in the forward pass. Some blocks share the pixels; their partial sums are added up in a fixed order.
#include "cube_conv2d.h"
#include "cube_lattice.h"
#include "gemm_output.h"

namespace rotacube::cuda {
namespace {

template <typename T>
struct CubeWeightGradient {
  CubeLattice lattice;
  CubeInput<T> in;
  Plane<T> grad;
  WeightTiles tiles;
  float* partial;
  int pixels, depth, stages;
};

template <typename T, int FM>
struct CubeWeightGradientOp : WeightTile<T, FM> {
  using Base = WeightTile<T, FM>;
  static constexpr int kAcross = Base::kRows / kPacket<T>;  // packets of a pixel, left
  static constexpr int kAUnits = (kDepth<T> * kAcross + kThreads - 1) / kThreads;
  static constexpr int kBAcross = kWeightColumns / kPacket<T>;
  static constexpr int kBUnits = kDepth<T> * kBAcross / kThreads;
  struct Fetched {
    Packet left[kAUnits];
    CubeGather<T> right[kBUnits];
  };

  const CubeWeightGradient<T>& p;
  int first, end;  // pixels
  CubeStep<T> at[kBUnits];
  Place places[kBUnits];

  __device__ static int unit(int i) { return static_cast<int>(threadIdx.x) + kThreads * i; }
  __device__ bool grad_across() const { return p.grad.strides.channel == 1; }
  __device__ bool x_across() const { return p.in.x.strides.channel == 1; }
  __device__ int a_depth(int unit) const { return grad_across() ? unit / kAcross : unit % kDepth<T>; }
  __device__ int a_part(int unit) const { return grad_across() ? unit % kAcross : unit / kDepth<T>; }
  __device__ int b_depth(int unit) const { return x_across() ? unit / kBAcross : unit % kDepth<T>; }
  __device__ int b_part(int unit) const { return x_across() ? unit % kBAcross : unit / kDepth<T>; }

  __device__ explicit CubeWeightGradientOp(const CubeWeightGradient<T>& parameters) : p(parameters) {
    Base::begin(p.tiles);
    first = Base::split * p.tiles.span;
    end = first + p.tiles.span < p.pixels ? first + p.tiles.span : p.pixels;
#pragma unroll
    for (int i = 0; i < kBUnits; ++i) {
      at[i].start(p.lattice, (Base::first_column + b_part(unit(i)) * kPacket<T>) / kDepth<T> * kDepth<T>);
    }
  }

  __device__ void fetch(int step, Fetched& fetched) {
    const int pixel = first + step * kDepth<T>;
#pragma unroll
    for (int i = 0; i < kAUnits; ++i) {
      fetched.left[i] = Packet{};
      if (unit(i) >= kDepth<T> * kAcross) continue;
      const Place place = place_of(pixel + a_depth(unit(i)), end, p.grad.height, p.grad.width);
      int64_t offset;
      if (p.grad.find(place, 0, 0, offset)) {
        fetched.left[i] = p.grad.read_channels(offset, Base::first_row + a_part(unit(i)) * kPacket<T>);
      }
    }
#pragma unroll
    for (int i = 0; i < kBUnits; ++i) {
      const int column = Base::first_column + b_part(unit(i)) * kPacket<T>;
      places[i] = place_of(pixel + b_depth(unit(i)), column < p.depth ? end : 0, p.in.x.height, p.in.x.width);
      fetched.right[i].fetch(p.in, places[i], at[i].segment, at[i].first + column % kDepth<T>, column);
    }
  }

  __device__ void store(const Fetched& fetched, char* stage) {
#pragma unroll
    for (int i = 0; i < kAUnits; ++i) {
      if (unit(i) >= kDepth<T> * kAcross) continue;
      write_packet(Base::a_at(stage, a_depth(unit(i)), a_part(unit(i)) * kPacket<T>), fetched.left[i]);
    }
#pragma unroll
    for (int i = 0; i < kBUnits; ++i) {
      write_packet(Base::b_at(stage, b_depth(unit(i)), b_part(unit(i)) * kPacket<T>),
                   fetched.right[i].pick(p.in, places[i], at[i].segment));
    }
  }
};

template <typename T, int FM>
__global__ void __launch_bounds__(kThreads) cube_weight_gradient(CubeWeightGradient<T> p) {
  CubeWeightGradientOp<T, FM> op(p);
  run_steps(op, 0, (op.end - op.first + kDepth<T> - 1) / kDepth<T>, shared_memory(), p.stages);
  op.write(p.tiles, p.partial);
}

template <typename W>
__global__ void add_up_weight(CubeLattice lattice, const float* partial, WeightTiles tiles, int step, int64_t count,
                              W* grad_weight) {
  const int64_t i = thread_number();
  if (i >= count) return;
  const int taps = lattice.kernel * lattice.kernel;
  const int group = static_cast<int>(i / taps % lattice.groups);
  const int k = depth_of_tap(lattice, group, static_cast<int>(i % taps), step);
  grad_weight[i] = narrow<W>(add_up(partial, tiles, i / taps / lattice.groups, k));
}

// Blocks take 96 or 128 outputs, whichever computes less in vain.
int64_t tile_height(int64_t outputs) { return up_to(outputs, 96) < up_to(outputs, 128) ? 96 : 128; }

struct Places {
  float* partial;
  int* channels;
  WeightTiles tiles;
  int depth;
  int64_t bytes;
};

template <typename T>
Places places_in(void* workspace, const CubeShape& shape) {
  Arena arena(workspace);
  Places at;
  at.depth = depth_of(lattice_of(shape), kDepth<T>);
  at.tiles = weight_tiles(shape.outputs, tile_height(shape.outputs), at.depth, shape.batch * shape.height * shape.width,
                          kDepth<T>);
  at.partial = arena.take<float>(at.tiles.partial_sums());
  at.channels = arena.take<int>(at.depth);
  at.bytes = arena.bytes();
  return at;
}

template <typename T, typename W>
cudaError_t backward(const CubeShape& shape, const CubeTensors& in, const void* grad, const Strides& grad_strides,
                     void* grad_weight, void* workspace, cudaStream_t stream) {
  const int64_t pixels = shape.batch * shape.height * shape.width;
  if (pixels >= kMostPixels) return cudaErrorInvalidValue;
  const CubeLattice lattice = lattice_of(shape);
  const int64_t count = shape.outputs * lattice.groups * shape.kernel * shape.kernel;
  if (count == 0) return cudaSuccess;
  if (pixels == 0) return cudaMemsetAsync(grad_weight, 0, static_cast<std::size_t>(count) * sizeof(W), stream);
  const Places at = places_in<T>(workspace, shape);
  cudaError_t error = name_channels(lattice, at.depth, kDepth<T>, in.order, at.channels, stream);
  if (error != cudaSuccess) return error;
  const CubeWeightGradient<T> p = {lattice,
                                   cube_input<T>(shape, in, at.channels),
                                   plane_of<T>(grad, grad_strides, shape.outputs, shape.height, shape.width),
                                   at.tiles,
                                   at.partial,
                                   static_cast<int>(pixels),
                                   at.depth,
                                   2};
  error = tile_height(shape.outputs) == 96 ? launch(cube_weight_gradient<T, 3>, at.tiles.blocks(), kThreads,
                                                    2 * WeightTile<T, 3>::kStageBytes, stream, p)
                                           : launch(cube_weight_gradient<T, 4>, at.tiles.blocks(), kThreads,
                                                    2 * WeightTile<T, 4>::kStageBytes, stream, p);
  if (error != cudaSuccess) return error;
  return launch_each(add_up_weight<W>, count, stream, lattice, static_cast<const float*>(at.partial), at.tiles,
                     kDepth<T>, count, static_cast<W*>(grad_weight));
}

}  // namespace

int64_t cube_conv2d_backward_weight_workspace(const CubeShape& shape, Element element) {
  return with_element(element, [&](auto type) { return places_in<decltype(type)>(nullptr, shape).bytes; });
}

cudaError_t cube_conv2d_backward_weight(const CubeShape& shape, const CubeTensors& in, const void* grad,
                                        const Strides& grad_strides, void* grad_weight, void* workspace,
                                        cudaStream_t stream) {
  return with_elements(in.element, in.wide_weight, [&](auto type, auto weight) {
    return backward<decltype(type), decltype(weight)>(shape, in, grad, grad_strides, grad_weight, workspace, stream);
  });
}

}  // namespace rotacube::cuda
