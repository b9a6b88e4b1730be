// The compiler's instrumentation (-fsanitize=thread) of the kernels' race copies calls these functions before
// every access to memory that others might see. They stand in for ThreadSanitizer's runtime, which is not
// linked. The names and signatures are the compiler's interface.

#include <cstddef>

#include "simt/race_detector.hpp"

namespace {

using quern::simt::active_detector;

inline void hook(const void* address, std::size_t bytes, bool write, const void* pc) {
  // Host code of the same files is instrumented too: nobody watches it.
  if (active_detector != nullptr) active_detector->instrumented_access(address, bytes, write, pc);
}

}  // namespace

#define QUERN_PC __builtin_return_address(0)

extern "C" {

void __tsan_init() {}
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}
void __tsan_vptr_update(void**, void*) {}
void __tsan_vptr_read(void**) {}

#define QUERN_HOOKS(bytes)                            \
  void __tsan_read##bytes(void* address) {            \
    hook(address, bytes, false, QUERN_PC);            \
  }                                                   \
  void __tsan_write##bytes(void* address) {           \
    hook(address, bytes, true, QUERN_PC);             \
  }                                                   \
  void __tsan_volatile_read##bytes(void* address) {   \
    hook(address, bytes, false, QUERN_PC);            \
  }                                                   \
  void __tsan_volatile_write##bytes(void* address) {  \
    hook(address, bytes, true, QUERN_PC);             \
  }                                                   \
  void __tsan_unaligned_read##bytes(void* address) {  \
    hook(address, bytes, false, QUERN_PC);            \
  }                                                   \
  void __tsan_unaligned_write##bytes(void* address) { \
    hook(address, bytes, true, QUERN_PC);             \
  }
QUERN_HOOKS(1)
QUERN_HOOKS(2)
QUERN_HOOKS(4)
QUERN_HOOKS(8)
QUERN_HOOKS(16)

void __tsan_read_range(void* address, std::size_t bytes) {
  hook(address, bytes, false, QUERN_PC);
}
void __tsan_write_range(void* address, std::size_t bytes) {
  hook(address, bytes, true, QUERN_PC);
}

}  // extern "C"
