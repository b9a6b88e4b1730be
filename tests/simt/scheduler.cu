#include "tests/simt/scheduler.cuh"

#include "kernels/intrinsics.cuh"

namespace quern::kernels::QUERN_TARGET {

namespace {

__global__ void idle_kernel() {}

__global__ void fault_from_block_kernel(int first_faulty) {
  if (static_cast<int>(blockIdx.x) >= first_faulty && threadIdx.x == 0) return;
  __syncthreads();
}

__global__ void stacks_and_switches_kernel(int* misaligned, float* sums) {
  alignas(32) volatile float local[16];
  const unsigned thread = threadIdx.x;
  for (int i = 0; i < 16; ++i) local[i] = static_cast<float>(thread) + static_cast<float>(i);
  const auto address = reinterpret_cast<std::uintptr_t>(&local[0]);
  for (int round = 0; round < 10; ++round) {
    __syncthreads();
    local[round] = local[round] + 0.5f;
    __syncwarp();
  }
  float sum = 0;
  for (int i = 0; i < 16; ++i) sum += local[i];
  misaligned[thread] = address % 32 == 0 && threadIdx.x == thread ? 0 : 1;
  sums[thread] = sum;
}

__global__ void record_order_kernel(int* arrival, unsigned* next) {
  arrival[atomicAdd(next, 1u)] = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
}

__global__ void fill_with_index_kernel(float* out, int elements) {
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  join_stream();
  if (i < elements) out[i] = static_cast<float>(i);
}

}  // namespace

void launch_of_shape(const LaunchShapeArgs& args, Stream stream) {
  launch(QUERN_KERNEL(idle_kernel), dim3(args.grid[0], args.grid[1], args.grid[2]),
         dim3(args.block[0], args.block[1], args.block[2]), args.dynamic_bytes, stream);
}

void fault_from_block(const FaultFromBlockArgs& args, Stream stream) {
  launch(QUERN_KERNEL(fault_from_block_kernel), static_cast<unsigned>(args.blocks), 64, 0, stream,
         args.first_faulty);
}

void stacks_and_switches(const StackArgs& args, Stream stream) {
  launch(QUERN_KERNEL(stacks_and_switches_kernel), 1, static_cast<unsigned>(args.threads), 0, stream,
         args.misaligned, args.sums);
}

void record_order(const OrderArgs& args, Stream stream) {
  launch(QUERN_KERNEL(record_order_kernel), static_cast<unsigned>(args.blocks),
         static_cast<unsigned>(args.threads), 0, stream, args.arrival, args.next);
}

void fill_with_index(const FillArgs& args, Stream stream) {
  launch_dependent(QUERN_KERNEL(fill_with_index_kernel), static_cast<unsigned>((args.elements + 255) / 256),
                   256, 0, stream, args.out, args.elements);
}

}  // namespace quern::kernels::QUERN_TARGET
