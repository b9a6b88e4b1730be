#include "kernels/tiled_dense.cuh"

#include "kernels/platform.cuh"

namespace quern::kernels::QUERN_TARGET {

namespace {

constexpr int kTile = 16;

__global__ void __launch_bounds__(kTile* kTile) tiled_dense_kernel(const TiledDenseArgs args) {
  QUERN_SHARED(x_tile, float[kTile][kTile + 1]);
  QUERN_SHARED(w_tile, float[kTile][kTile + 1]);
  const int row = static_cast<int>(threadIdx.y), column = static_cast<int>(threadIdx.x);
  const int sample = static_cast<int>(blockIdx.y) * kTile + row;
  const int first_output = static_cast<int>(blockIdx.x) * kTile;

  float sum = 0.0f;
  for (int begin = 0; begin < args.inputs; begin += kTile) {
    const int input = begin + column;
    const bool inside = input < args.inputs;
    x_tile[row][column] = inside && sample < args.batch ? args.x[sample * args.inputs + input] : 0.0f;
    w_tile[row][column] = inside && first_output + row < args.outputs
                              ? args.w[(first_output + row) * args.inputs + input]
                              : 0.0f;
    __syncthreads();  // the tiles are complete
    for (int i = 0; i < kTile; ++i) sum = fmaf(x_tile[row][i], w_tile[column][i], sum);
    __syncthreads();  // nobody reads them any more
  }

  const int output = first_output + column;
  if (sample >= args.batch || output >= args.outputs) return;
  if (args.bias != nullptr) sum += args.bias[output];
  if (args.relu && sum < 0.0f) sum = 0.0f;
  args.y[sample * args.outputs + output] = sum;
}

}  // namespace

void tiled_dense(const TiledDenseArgs& args, Stream stream) {
  const auto tiles = [](int extent) { return static_cast<unsigned>((extent + kTile - 1) / kTile); };
  launch(QUERN_KERNEL(tiled_dense_kernel), dim3(tiles(args.outputs), tiles(args.batch)), dim3(kTile, kTile),
         0, stream, args);
}

}  // namespace quern::kernels::QUERN_TARGET
