// What becomes of a warp's sums: an output tensor, or partial sums in memory that are added up in a fixed order.
#pragma once

#include "gemm_tile.h"

namespace rotacube::cuda {

// Shared memory in which a warp turns tiles around, FN of them side by side.
template <int FN>
constexpr int kTurnPitch = 16 * FN + 4;
template <int FN>
constexpr int kTurnBytes =
    16 * kTurnPitch<FN> * static_cast<int>(sizeof(float)) + 16 * static_cast<int>(sizeof(int64_t));

// Writes sums + bias. The rows are the pixels from `pixel` on (as long as they are below `end`), the columns the
// channels from `channel` on. `turn` is the warp's own.
template <typename T, int FM, int FN>
__device__ inline void write_sums(const Sums<T> (&sums)[FM][FN], char* turn, const Plane<T>& y, int pixel, int end,
                                  int channel, const float* bias) {
  constexpr int kColumns = 16 * FN, kPitch = kTurnPitch<FN>;
  float* const tile = reinterpret_cast<float*>(turn);
  int64_t* const offsets = reinterpret_cast<int64_t*>(tile + 16 * kPitch);
  const int lane = static_cast<int>(threadIdx.x) % 32;
#pragma unroll
  for (int i = 0; i < FM; ++i) {
#pragma unroll
    for (int j = 0; j < FN; ++j) Tile<T>::store(sums[i][j], tile + 16 * j, kPitch);
    if (lane < 16) {
      int64_t offset;
      const Place place = place_of(pixel + 16 * i + lane, end, y.height, y.width);
      offsets[lane] = y.find(place, 0, 0, offset) ? offset : -1;
    }
    __syncwarp();
    if (y.packets) {
      constexpr int kAcross = kColumns / kPacket<T>;
      for (int unit = lane; unit < 16 * kAcross; unit += 32) {
        const int row = unit / kAcross, column = unit % kAcross * kPacket<T>;
        if (offsets[row] < 0 || channel + column >= y.channels) continue;
        Packet packet{};
#pragma unroll
        for (int e = 0; e < kPacket<T>; ++e) {
          float sum = tile[row * kPitch + column + e];
          if (bias != nullptr) sum += bias[channel + column + e];
          put(packet, e, narrow<T>(sum));
        }
        write_packet(y.data + offsets[row] + channel + column, packet);
      }
    } else {
      for (int unit = lane; unit < 16 * kColumns; unit += 32) {
        const bool across = y.strides.channel == 1;
        const int row = across ? unit / kColumns : unit % 16, column = across ? unit % kColumns : unit / 16;
        if (offsets[row] < 0 || channel + column >= y.channels) continue;
        float sum = tile[row * kPitch + column];
        if (bias != nullptr) sum += bias[channel + column];
        y.data[offsets[row] + (channel + column) * y.strides.channel] = narrow<T>(sum);
      }
    }
    __syncwarp();
  }
}

// The gradient of a weight: sums over pixels of a plain tensor's channels (rows) times gathered columns. Some blocks
// share the pixels of a tile; each writes its own partial sums.
struct WeightTiles {
  int row_tiles, column_tiles, splits, span;  // span: the pixels of a split
  int64_t row_pitch;                          // columns of the partial sums
  int64_t split_pitch;

  int64_t blocks() const { return static_cast<int64_t>(row_tiles) * column_tiles * splits; }
  int64_t partial_sums() const { return split_pitch * splits; }
};

constexpr int kWeightColumns = 128;

inline WeightTiles weight_tiles(int64_t rows, int64_t tile_rows, int64_t columns, int64_t pixels, int64_t depth) {
  constexpr int64_t kBlocks = 512;  // enough to fill a GPU, a number that no GPU changes: results are the same on all
  constexpr int64_t kLeastSteps = 8;
  WeightTiles tiles;
  tiles.row_tiles = static_cast<int>(up_to(rows, tile_rows) / tile_rows);
  tiles.column_tiles = static_cast<int>(up_to(columns, kWeightColumns) / kWeightColumns);
  const int64_t each = static_cast<int64_t>(tiles.row_tiles) * tiles.column_tiles;
  const int64_t most = up_to(pixels, kLeastSteps * depth) / (kLeastSteps * depth);
  int64_t splits = (kBlocks + each - 1) / each;
  if (splits > most) splits = most;
  if (splits < 1) splits = 1;
  tiles.span = static_cast<int>(up_to((pixels + splits - 1) / splits, depth));
  tiles.splits = static_cast<int>(tiles.span == 0 ? 1 : up_to(pixels, tiles.span) / tiles.span);
  if (tiles.splits < 1) tiles.splits = 1;
  tiles.row_pitch = static_cast<int64_t>(tiles.column_tiles) * kWeightColumns;
  tiles.split_pitch = tiles.row_pitch * tiles.row_tiles * tile_rows;
  return tiles;
}

// The multiplication and the place of the results; who derives from it fetches and stores the operands.
template <typename T, int FM>
struct WeightTile {
  static constexpr int kRows = 32 * FM;
  static constexpr int kAPitch = kRows + kPacket<T>, kBPitch = kWeightColumns + kPacket<T>;
  static constexpr int kABytes = kDepth<T> * kAPitch * static_cast<int>(sizeof(T));
  static constexpr int kStageBytes = kABytes + kDepth<T> * kBPitch * static_cast<int>(sizeof(T));

  int first_row, first_column, split;
  Sums<T> sums[FM][2];

  __device__ void begin(const WeightTiles& tiles) {
    const int block = static_cast<int>(blockIdx.x);
    first_column = block % tiles.column_tiles * kWeightColumns;
    first_row = block / tiles.column_tiles % tiles.row_tiles * kRows;
    split = block / tiles.column_tiles / tiles.row_tiles;
    clear<T>(sums);
  }

  __device__ static T* a_at(char* stage, int depth, int row) {
    return reinterpret_cast<T*>(stage) + depth * kAPitch + row;
  }
  __device__ static T* b_at(char* stage, int depth, int column) {
    return reinterpret_cast<T*>(stage + kABytes) + depth * kBPitch + column;
  }

  __device__ void copy(int, char*) {}

  __device__ void multiply(int, char* stage) {
    const int warp = static_cast<int>(threadIdx.x) / 32;
    Tile<T>::template multiply<kDepth<T>, false, false>(sums, a_at(stage, 0, warp / 4 * 16 * FM), kAPitch,
                                                        b_at(stage, 0, warp % 4 * 32), kBPitch);
  }

  __device__ void write(const WeightTiles& tiles, float* partial) {
    const int warp = static_cast<int>(threadIdx.x) / 32;
    float* const to = partial + split * tiles.split_pitch + (first_row + warp / 4 * 16 * FM) * tiles.row_pitch +
                      first_column + warp % 4 * 32;
#pragma unroll
    for (int i = 0; i < FM; ++i) {
#pragma unroll
      for (int j = 0; j < 2; ++j) Tile<T>::store(sums[i][j], to + 16 * i * tiles.row_pitch + 16 * j, tiles.row_pitch);
    }
  }
};

// Adds up what the splits found, always in the same order.
__device__ inline float add_up(const float* partial, const WeightTiles& tiles, int64_t row, int64_t column) {
  float sum = 0.0f;
  for (int split = 0; split < tiles.splits; ++split) {
    sum += partial[split * tiles.split_pitch + row * tiles.row_pitch + column];
  }
  return sum;
}

}  // namespace rotacube::cuda
