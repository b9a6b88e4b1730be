#pragma once

/// Kernels that crash or never end: signals turned into reports, so that the program and the next launch go
/// on.

#include <cstdint>

namespace quern::simt {

class Block;

/// What stopped a block from outside.
struct Interrupt {
  enum class Kind : std::uint8_t { none, invalid_address, no_progress };
  Kind kind = Kind::none;
  const void* address = nullptr;  ///< that was accessed
  const void* code = nullptr;     ///< the instruction; null where the processor's state is not understood
};

/// Takes over SIGSEGV and SIGBUS for code of emulated kernels (other code crashes as before) and starts
/// watching for blocks that make no progress. Once for the process; does nothing under sanitizers, which
/// report crashes themselves.
void install_interrupts();

/// The watch over blocks: a block that switches between no threads for `seconds` is interrupted. 0: never.
void set_stall_limit(double seconds);

/// A worker's block, known to the watch from its construction on. Also gives the worker's thread a stack to
/// handle signals on.
class Watched {
 public:
  explicit Watched(Block& block);
  ~Watched();
  Watched(const Watched&) = delete;
  Watched& operator=(const Watched&) = delete;

 private:
  Block& block_;
  void* signal_stack_ = nullptr;
};

}  // namespace quern::simt
