#pragma once

/// Kernels that show how blocks and threads are run.

#include <cstddef>
#include <cstdint>

#include "kernels/launcher.hpp"

namespace quern::kernels {

struct LaunchShapeArgs {
  unsigned grid[3] = {1, 1, 1};
  unsigned block[3] = {1, 1, 1};
  std::size_t dynamic_bytes = 0;
};
QUERN_DECLARE_LAUNCHER(launch_of_shape, LaunchShapeArgs);  ///< a kernel that does nothing

struct FaultFromBlockArgs {
  int first_faulty = 0;
  int blocks = 1;
};
QUERN_DECLARE_LAUNCHER(fault_from_block, FaultFromBlockArgs);

struct StackArgs {
  int threads = 1;
  int* misaligned = nullptr;  ///< [threads]: addresses of over-aligned locals that were not
  float* sums = nullptr;      ///< [threads]: locals that must survive the switches
};
QUERN_DECLARE_LAUNCHER(stacks_and_switches, StackArgs);

struct OrderArgs {
  int* arrival = nullptr;  ///< [blocks * threads]: thread numbers in the order in which they ran
  unsigned* next = nullptr;
  int blocks = 1, threads = 1;
};
QUERN_DECLARE_LAUNCHER(record_order, OrderArgs);

struct FillArgs {
  float* out = nullptr;
  int elements = 0;
};
QUERN_DECLARE_LAUNCHER(fill_with_index, FillArgs);

}  // namespace quern::kernels
