#pragma once

/// Which random seeds a test takes: its own, or those named in the environment as FIRST[:COUNT].

#include <cstdint>
#include <cstdlib>

namespace quern::test {

struct Seeds {
  std::uint64_t first = 1, count = 0;
};

inline Seeds seeds_from(const char* variable, std::uint64_t usual_count) {
  Seeds seeds{1, usual_count};
  if (const char* text = std::getenv(variable)) {
    char* end = nullptr;
    seeds.first = std::strtoull(text, &end, 10);
    seeds.count = *end == ':' ? std::strtoull(end + 1, nullptr, 10) : 1;
  }
  return seeds;
}

}  // namespace quern::test
