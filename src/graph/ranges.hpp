#pragma once

/// Named ranges on a profiler's time line: NVTX, domain "quern". Without a profiler, or in a build without
/// CUDA, a range costs a call that returns at once.

#include <string>

namespace quern::ranges {

/// A name known to the profiler, so that a range passes a handle and no text.
class Name {
 public:
  Name() = default;
  explicit Name(const std::string& text);

 private:
  friend class Scope;
  void* handle_ = nullptr;
};

/// What a range's number means.
enum class Unit { none, flops, bytes, steps };

class Scope {
 public:
  explicit Scope(const Name& name, double payload = 0, Unit unit = Unit::none) noexcept;
  ~Scope();
  Scope(const Scope&) = delete;
  Scope& operator=(const Scope&) = delete;
};

}  // namespace quern::ranges
