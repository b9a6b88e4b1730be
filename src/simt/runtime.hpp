#pragma once

/// What emulated kernels call: the door between the kernels' headers and the scheduler. Kernel authors use
/// kernels/platform.cuh and kernels/intrinsics.cuh instead.

#include <cstddef>
#include <cstdint>
#include <source_location>
#include <span>

#include "simt/vector_types.hpp"

namespace quern::simt {

inline constexpr int kWarpSize = 32;
inline constexpr unsigned kFullMask = 0xffffffffu;

using Site = std::source_location;

// Coordinates of the emulated thread that runs on this worker, under CUDA's names.
extern constinit thread_local uint3 threadIdx;
extern constinit thread_local uint3 blockIdx;
extern constinit thread_local dim3 blockDim;
extern constinit thread_local dim3 gridDim;

/// One launch: `invoke(invocation)` runs the kernel's body for the current thread.
struct GridLaunch {
  const char* kernel = nullptr;
  dim3 grid, block;
  std::size_t dynamic_shared_bytes = 0;
  bool asked_for_shared = false;  ///< else static and dynamic shared memory together are limited to 48 KiB
  void (*invoke)(const void* invocation) = nullptr;
  const void* invocation = nullptr;
  bool later_phase = false;   ///< the launch was counted with its first phase
  bool instrumented = false;  ///< this copy of the kernel reports its accesses to the race detector
  /// On a GPU the kernel would start before its predecessor has ended: every thread must call
  /// grid_dependency_wait() before it touches global memory.
  bool programmatic = false;
};

/// Runs every block of the grid. Throws KernelFault.
void run_grid(const GridLaunch& launch);

// --- Synchronisation. Each returns when all threads concerned have arrived. --------------------

void sync_threads(Site site);
/// Barrier over the block that also reduces a predicate over its threads.
enum class Vote : std::uint8_t { count, any, all };
int sync_threads_vote(int predicate, Vote vote, Site site);
/// PTX bar.sync / bar.arrive: barrier `id` (1..15) of `threads` threads, a multiple of the warp size.
void named_barrier_sync(int id, int threads, Site site);
void named_barrier_arrive(int id, int threads, Site site);
void sync_warp(unsigned mask, Site site);

/// PTX griddepcontrol.wait.
void grid_dependency_wait();

/// A warp collective: every lane of `mask` hands in a payload of the same type; the last to arrive runs
/// `exchange` over all of them (null for lanes outside the mask, or that never existed or have ended), which
/// writes results into the payloads. `aligned` collectives (mma, ldmatrix) need all 32 lanes.
using Exchange = void (*)(void* const (&lanes)[kWarpSize]);
void warp_collective(const char* name, unsigned mask, void* payload, Exchange exchange, bool aligned,
                     Site site);

/// The current thread's place in its warp.
int lane_index();

/// Fails the running block: the misuse is the current thread's.
[[noreturn]] void fail_collective(const char* what, Site site);

[[noreturn]] void fail_misaligned(const void* address, std::size_t bytes, Site site);
/// Fails the block unless the range lies in one array of shared memory, aligned to its size; then notes the
/// read.
void check_shared_read(const void* address, unsigned bytes, const char* what, Site site);

// --- Shared memory -----------------------------------------------------------------------------

/// The block's array that belongs to `key` (an object of static storage, one per declaration and
/// instantiation).
void* static_shared(const void* key, const char* name, std::size_t bytes, std::size_t alignment);
/// The block's dynamic shared memory.
void* dynamic_shared();
std::size_t dynamic_shared_bytes();
/// The piece of it that starts at byte `offset`, as an array of its own between red zones.
void* carve_dynamic_shared(std::size_t offset, std::size_t bytes, std::size_t alignment, Site site);

// --- Asynchronous copies: bytes arrive at the wait and are NaN until then ----------------------

/// Copies `source_bytes` and zero-fills up to `bytes`.
void async_copy(void* shared, const void* global, unsigned bytes, unsigned source_bytes, Site site);
void async_copy_commit();
/// Waits until at most `pending` of the newest groups are unfinished.
void async_copy_wait_group(unsigned pending);
void async_copy_wait_all();

// --- Accesses that the compiler's instrumentation does not see ---------------------------------

void note_read(const void* address, std::size_t bytes, Site site);
void note_write(const void* address, std::size_t bytes, Site site);
void note_atomic(const void* address, std::size_t bytes, Site site);

/// __threadfence
void fence();

}  // namespace quern::simt
