#pragma once

/// From a code address to a line of the kernel's source.

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace quern::simt {

struct SourceLine {
  std::string
      file;  ///< relative to the source tree where that is known; empty when the address cannot be resolved
  int line = 0;
};

/// Resolves addresses of this process by the debug information of its files, with binutils' addr2line;
/// without it, or without debug information, lines stay unknown. Frames inlined from the platform's own
/// headers are skipped: the line is the author's.
std::map<std::uintptr_t, SourceLine> source_lines(const std::vector<std::uintptr_t>& addresses);

}  // namespace quern::simt
