#pragma once

/// AddressSanitizer's poisoning, where it is in the build.

#include <cstddef>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#endif

namespace quern::simt {

inline void poison([[maybe_unused]] const void* base, [[maybe_unused]] std::size_t bytes) {
#if defined(__SANITIZE_ADDRESS__)
  __asan_poison_memory_region(base, bytes);
#endif
}

inline void unpoison([[maybe_unused]] const void* base, [[maybe_unused]] std::size_t bytes) {
#if defined(__SANITIZE_ADDRESS__)
  __asan_unpoison_memory_region(base, bytes);
#endif
}

}  // namespace quern::simt
