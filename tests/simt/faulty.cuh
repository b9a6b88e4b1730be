#pragma once

/// Kernels with planted faults, and near relatives that are right: tests of the emulator's judgement. The
/// line at fault carries a comment "FAULT: name" by which the tests find it.

#include "kernels/launcher.hpp"

namespace quern::kernels {

enum class Planted {
  // Synchronisation
  missing_syncthreads,
  missing_syncwarp,
  shuffle_as_fence,
  partial_syncwarp_too_small,
  write_after_read,
  half_words_overlap,
  arrive_without_sync,
  // Barriers
  divergent_barrier,
  barrier_in_one_branch,
  early_exit,
  divergent_warp_collective,
  mask_lacks_caller,
  shuffle_from_ended_lane,
  mma_with_part_of_a_warp,
  partial_warp_at_named_barrier,
  // Memory
  static_shared_overrun,
  dynamic_shared_overrun,
  between_dynamic_pieces,
  global_overrun,
  global_underrun,
  global_far_away,
  stack_overflow,
  endless_loop,
  write_to_constant,
  uninitialised_shared,
  uninitialised_global,
  fragment_off_by_one,
  ldmatrix_outside,
  ldmatrix_misaligned,
  cp_async_outside,
  missing_cp_async_wait,
  wait_for_wrong_group,
  misaligned_vector,
  too_much_static_shared,
  shared_beyond_what_was_asked,
  pieces_exceed_dynamic,
  // Between blocks
  two_blocks_write,
  block_reads_other,
  last_block_without_fence,
  last_block_without_second_fence,
  last_block_without_barrier,
  fences_before_the_barrier,
  write_after_release,
  // Between kernels: programmatic dependent launches
  touched_before_join,
  ended_without_join,
};

/// The kernel's arrays: in[256] initialised, out[256] not. counter is a zero.
struct PlantedArgs {
  Planted fault = Planted::missing_syncthreads;
  const float* in = nullptr;
  float* out = nullptr;
  unsigned* counter = nullptr;
};
QUERN_DECLARE_LAUNCHER(planted, PlantedArgs);

/// Patterns that are right and must be found so.
enum class Correct {
  tree_reduction,
  warp_synchronous,
  partial_syncwarps,
  neighbouring_halves,
  double_buffer,
  producer_consumer,
  last_block_adds_up,
  last_of_pairs_adds_up,
  last_warp_adds_up,
  exit_without_barrier,
  in_place,
  reused_buffer,
};
struct CorrectArgs {
  Correct pattern = Correct::tree_reduction;
  const float* in = nullptr;
  float* out = nullptr;
  float* partial = nullptr;
  unsigned* counters = nullptr;  ///< zeros: 1 and one for every two blocks
  int blocks = 1;
};
QUERN_DECLARE_LAUNCHER(correct, CorrectArgs);

}  // namespace quern::kernels
