#pragma once

/// The SIMT emulator's controls: how blocks and threads are scheduled, whether races are looked for, and what
/// a faulty kernel is reported as. Emulated launches run to completion before they return, and throw
/// KernelFault.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "quern/error.hpp"
#include "simt/vector_types.hpp"

namespace quern::simt {

/// The order in which blocks start, or in which runnable threads of a block continue. A correct kernel gives
/// the same bits under all of them.
enum class Order : std::uint8_t { forward, reverse, random };

struct Config {
  int workers = 1;  ///< threads of this machine that run blocks
  Order block_order = Order::forward;
  Order thread_order = Order::forward;
  std::uint64_t seed = 0;                ///< of the random orders
  std::size_t stack_bytes = 128 * 1024;  ///< per emulated thread
  std::size_t shared_bytes =
      227 * 1024;  ///< largest dynamic shared memory of a block (Hopper's opt-in limit)
  /// A block in which no thread comes to a barrier or its end for so long is stopped; 0: never.
  double stall_seconds = 30;
  bool races = false;  ///< run the kernels' instrumented copy and look for races
};

/// The settings of all emulated launches of this process. Not to be changed while a kernel runs.
const Config& config() noexcept;
void set_config(const Config& config);

/// Sets the configuration for a scope.
class ScopedConfig {
 public:
  explicit ScopedConfig(const Config& now) : before_(config()) { set_config(now); }
  ~ScopedConfig() { set_config(before_); }
  ScopedConfig(const ScopedConfig&) = delete;
  ScopedConfig& operator=(const ScopedConfig&) = delete;

 private:
  Config before_;
};

/// Kernels launched by this process so far.
std::uint64_t launch_count() noexcept;

/// True in builds that hold the instrumented copy of the kernels: those without a sanitizer.
bool race_detection_available() noexcept;
/// Turns the race detector on or off for the launches to come; throws an input error where it is not
/// available.
void set_race_detection(bool on);
inline bool race_detection() noexcept {
  return config().races;
}

enum class FaultKind : std::uint8_t {
  launch,             ///< a launch the hardware would refuse: too many threads, too much shared memory
  divergent_barrier,  ///< threads of a block, or lanes of a warp, wait at different places
  early_exit,         ///< threads ended before a barrier that others wait at
  collective,  ///< a warp collective was misused: a lane outside its own mask, a value from a lane that ended
  shared_overrun,  ///< shared memory outside of any array
  global_overrun,  ///< device memory outside of any allocation
  uninitialised,   ///< a read of memory that nothing has written
  race,            ///< two unordered accesses to shared or global memory, one of them a write
  stack_overflow,  ///< a thread's local variables exceed Config::stack_bytes
  no_progress,     ///< a thread that spins for ever
  misaligned,      ///< a vector access to an address that is not a multiple of its size
};
const char* to_string(FaultKind kind) noexcept;

/// One finding. Block and thread are the culprit's, and the place is the kernel's source line, where they are
/// known.
struct Fault {
  FaultKind kind = FaultKind::launch;
  std::string kernel;
  std::optional<uint3> block, thread;
  std::string file;  ///< relative to the source tree; empty when unknown
  int line = 0;      ///< 0 when unknown
  std::string message;
};

/// "kernel relu_kernel, block (0,0,0), thread (3,0,0), kernels/relu.cu:21: shared-memory race: ..."
std::string to_string(const Fault& fault);

/// What an emulated launch throws when its kernel is at fault. Memory the kernel wrote is then undefined; the
/// next launch works.
class KernelFault : public Error {
 public:
  explicit KernelFault(std::vector<Fault> faults);
  const std::vector<Fault>& faults() const noexcept { return faults_; }

 private:
  std::vector<Fault> faults_;
};

/// Makes memory of the host known as device memory, as the emulator device does for its allocations: the race
/// detector takes accesses outside of all registered ranges for overruns. `initialised` tells whether it
/// holds values yet.
void register_memory(void* base, std::size_t bytes, bool initialised);
void unregister_memory(void* base) noexcept;
/// Notes that the host has written this range (or made it undefined again).
void mark_initialised(const void* base, std::size_t bytes, bool initialised = true);
/// Copies the notes about what is initialised from one range to another.
void copy_initialised(const void* to, const void* from, std::size_t bytes);

}  // namespace quern::simt
